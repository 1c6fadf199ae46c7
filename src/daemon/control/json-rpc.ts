// control: JSON-RPC 2.0 in lines: what a line of a client means, and the lines that answer it.

/** The codes of JSON-RPC 2.0, and those of ours from -32000 on. */
export const CODES = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  /** The device or the store refused, or cannot do that; the message says why. */
  failed: -32000,
  /** Too many clients, or a line that is too long. The connection ends. */
  refused: -32001,
} as const;

export type RpcId = string | number | null;

export interface RpcRequest {
  /** Absent: a notification, which is not answered. */
  readonly id?: RpcId;
  readonly method: string;
  readonly params: unknown;
}

/** An error that becomes the `error` of an answer. */
export class RpcError extends Error {
  readonly rpcCode: number;

  constructor(rpcCode: number, message: string) {
    super(message);
    this.name = 'RpcError';
    this.rpcCode = rpcCode;
  }
}

/** Parses a line. Throws RpcError, whose answer has the id null. */
export function parseRequest(line: string): RpcRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new RpcError(CODES.parse, 'the line is not JSON');
  }
  if (Array.isArray(value)) throw new RpcError(CODES.invalidRequest, 'batches are not taken: send a request a line');
  const { jsonrpc, id, method, params } = (value ?? {}) as Partial<Record<string, unknown>>;
  if (jsonrpc !== '2.0') throw new RpcError(CODES.invalidRequest, '"jsonrpc": "2.0" is missing');
  if (typeof method !== 'string') throw new RpcError(CODES.invalidRequest, '"method" is not a text');
  if (!isId(id)) throw new RpcError(CODES.invalidRequest, '"id" is not a text or a number');
  return { ...(id !== undefined && { id }), method, params: params ?? {} };
}

function isId(id: unknown): id is RpcId | undefined {
  return id === undefined || id === null || typeof id === 'string' || typeof id === 'number';
}

export function resultLine(id: RpcId, result: unknown): string {
  return `${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`;
}

export function errorLine(id: RpcId, error: unknown): string {
  const code = error instanceof RpcError ? error.rpcCode : CODES.failed;
  const message = error instanceof Error ? error.message : String(error);
  return `${JSON.stringify({ jsonrpc: '2.0', id, error: { code, message } })}\n`;
}

export function requestLine(id: number, method: string, params: unknown): string {
  return `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
}

export function notificationLine(method: string, params: unknown): string {
  return `${JSON.stringify({ jsonrpc: '2.0', method, params })}\n`;
}
