// test/vhost-user/sequences: vhost-user messages as named fields, and back. It uses nothing of src, which it tests.

/**
 * Numbers are numbers; bit sets and addresses are hexadecimal text. `regions` is a list; `room` says for how many the
 * message has bytes where these are more. `config` has the fields that the message covers.
 */
export interface Fields {
  readonly [name: string]: number | string | readonly Fields[] | Fields;
}

type Width = 'u8' | 'u16' | 'u32' | 'hex64';
type Layout = readonly (readonly [name: string, width: Width, at: number])[];
type Kind = 'none' | 'u64' | 'vring' | 'address' | 'notifier' | 'table' | 'region' | 'config' | 'log' | 'inflight';

export const REPLY = 4;
export const NEED_REPLY = 8;

const u64: Layout = [['value', 'hex64', 0]];
const region: Layout = [
  ['guest', 'hex64', 0],
  ['size', 'hex64', 8],
  ['user', 'hex64', 16],
  ['offset', 'hex64', 24],
];
const REGION_BYTES = 32;
const layouts: Readonly<Record<Exclude<Kind, 'table' | 'config'>, Layout>> = {
  none: [],
  u64,
  vring: [
    ['index', 'u32', 0],
    ['num', 'u32', 4],
  ],
  address: [
    ['index', 'u32', 0],
    ['flags', 'u32', 4],
    ['descriptor', 'hex64', 8],
    ['used', 'hex64', 16],
    ['available', 'hex64', 24],
    ['log', 'hex64', 32],
  ],
  notifier: u64,
  region: [['padding', 'hex64', 0], ...region.map(([name, width, at]) => [name, width, at + 8] as const)],
  log: [
    ['size', 'hex64', 0],
    ['offset', 'hex64', 8],
  ],
  inflight: [
    ['size', 'hex64', 0],
    ['offset', 'hex64', 8],
    ['queues', 'u16', 16],
    ['queueSize', 'u16', 18],
  ],
};
const configHead: Layout = [
  ['offset', 'u32', 0],
  ['size', 'u32', 4],
  ['flags', 'u32', 8],
];
const CONFIG_HEAD_BYTES = 12;

/** struct virtio_blk_config, VIRTIO 1.3 §5.2.4. */
const blockConfig: Layout = [
  ['capacity', 'hex64', 0],
  ['size_max', 'u32', 8],
  ['seg_max', 'u32', 12],
  ['cylinders', 'u16', 16],
  ['heads', 'u8', 18],
  ['sectors', 'u8', 19],
  ['blk_size', 'u32', 20],
  ['physical_block_exp', 'u8', 24],
  ['alignment_offset', 'u8', 25],
  ['min_io_size', 'u16', 26],
  ['opt_io_size', 'u32', 28],
  ['writeback', 'u8', 32],
  ['unused0', 'u8', 33],
  ['num_queues', 'u16', 34],
  ['max_discard_sectors', 'u32', 36],
  ['max_discard_seg', 'u32', 40],
  ['discard_sector_alignment', 'u32', 44],
  ['max_write_zeroes_sectors', 'u32', 48],
  ['max_write_zeroes_seg', 'u32', 52],
  ['write_zeroes_may_unmap', 'u8', 56],
  ['unused1', 'u8', 57],
  ['unused2', 'u16', 58],
];

interface Shape {
  readonly code: number;
  readonly asked: Kind;
  /** Of the answer the message has by its nature; without one it is an acknowledgement, where that is asked for. */
  readonly answered?: Kind;
}

/** The requests of a front end. */
const shapes: Readonly<Record<string, Shape>> = {
  GET_FEATURES: { code: 1, asked: 'none', answered: 'u64' },
  SET_FEATURES: { code: 2, asked: 'u64' },
  SET_OWNER: { code: 3, asked: 'none' },
  RESET_OWNER: { code: 4, asked: 'none' },
  SET_MEM_TABLE: { code: 5, asked: 'table' },
  SET_LOG_BASE: { code: 6, asked: 'log', answered: 'u64' },
  SET_LOG_FD: { code: 7, asked: 'none' },
  SET_VRING_NUM: { code: 8, asked: 'vring' },
  SET_VRING_ADDR: { code: 9, asked: 'address' },
  SET_VRING_BASE: { code: 10, asked: 'vring' },
  GET_VRING_BASE: { code: 11, asked: 'vring', answered: 'vring' },
  SET_VRING_KICK: { code: 12, asked: 'notifier' },
  SET_VRING_CALL: { code: 13, asked: 'notifier' },
  SET_VRING_ERR: { code: 14, asked: 'notifier' },
  GET_PROTOCOL_FEATURES: { code: 15, asked: 'none', answered: 'u64' },
  SET_PROTOCOL_FEATURES: { code: 16, asked: 'u64' },
  GET_QUEUE_NUM: { code: 17, asked: 'none', answered: 'u64' },
  SET_VRING_ENABLE: { code: 18, asked: 'vring' },
  SET_BACKEND_REQ_FD: { code: 21, asked: 'none' },
  GET_CONFIG: { code: 24, asked: 'config', answered: 'config' },
  SET_CONFIG: { code: 25, asked: 'config' },
  GET_INFLIGHT_FD: { code: 31, asked: 'inflight', answered: 'inflight' },
  SET_INFLIGHT_FD: { code: 32, asked: 'inflight' },
  RESET_DEVICE: { code: 34, asked: 'none' },
  GET_MAX_MEM_SLOTS: { code: 36, asked: 'none', answered: 'u64' },
  ADD_MEM_REG: { code: 37, asked: 'region' },
  REM_MEM_REG: { code: 38, asked: 'region' },
  SET_STATUS: { code: 39, asked: 'u64' },
  GET_STATUS: { code: 40, asked: 'none', answered: 'u64' },
};

/** The name of a request. Throws RangeError for one this table has not. */
export function nameOf(code: number): string {
  const found = Object.entries(shapes).find(([, shape]) => shape.code === code);
  if (found === undefined) throw new RangeError(`message ${code} is not in the table of message-fields.ts`);
  return found[0];
}

/** Its number. Throws RangeError. */
export function codeOf(name: string): number {
  return shapeOf(name).code;
}

/** Whether it has an answer by its nature, asked for or not. */
export function hasAnswer(name: string): boolean {
  return shapeOf(name).answered !== undefined;
}

function shapeOf(name: string): Shape {
  const shape = shapes[name];
  if (shape === undefined) throw new RangeError(`${name} is not in the table of message-fields.ts`);
  return shape;
}

function kindOf(name: string, isReply: boolean): Kind {
  const { asked, answered } = shapeOf(name);
  return isReply ? (answered ?? 'u64') : asked;
}

/** The payload of a message as fields. Throws RangeError where the fields would not give the same bytes again. */
export function decodeFields(name: string, isReply: boolean, payload: Uint8Array<ArrayBuffer>): Fields {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (payload.length === 0) return {};
  const fields = decodeAs(kindOf(name, isReply), view);
  const again = encodeFields(name, isReply, fields);
  if (again.length !== payload.length || again.some((byte, i) => byte !== payload[i]))
    throw new RangeError(`${name}: ${toHex(payload)} is more than ${JSON.stringify(fields)}`);
  return fields;
}

function decodeAs(kind: Kind, view: DataView): Fields {
  if (kind === 'table') {
    const count = view.getUint32(0, true);
    const room = (view.byteLength - 8) / REGION_BYTES;
    const regions = Array.from({ length: count }, (_, i) => decodeLayout(region, view, 8 + REGION_BYTES * i));
    return { regions, ...(room > count && { room }) };
  }
  if (kind === 'config') {
    const head = decodeLayout(configHead, view, 0);
    return { ...head, config: decodeLayout(namedIn(head), view, CONFIG_HEAD_BYTES - Number(head.offset)) };
  }
  return decodeLayout(layouts[kind], view, 0);
}

/** The bytes of a payload. */
export function encodeFields(name: string, isReply: boolean, fields: Fields): Uint8Array<ArrayBuffer> {
  const kind = kindOf(name, isReply);
  if (Object.keys(fields).length === 0) return new Uint8Array(0);
  if (kind === 'table') {
    const regions = fields.regions as readonly Fields[];
    const bytes = new Uint8Array(8 + REGION_BYTES * Number(fields.room ?? regions.length));
    new DataView(bytes.buffer).setUint32(0, regions.length, true);
    regions.forEach((one, i) => {
      encodeLayout(region, one, bytes, 8 + REGION_BYTES * i);
    });
    return bytes;
  }
  if (kind === 'config') {
    const bytes = new Uint8Array(CONFIG_HEAD_BYTES + Number(fields.size));
    encodeLayout(configHead, fields, bytes, 0);
    encodeLayout(namedIn(fields), fields.config as Fields, bytes, CONFIG_HEAD_BYTES - Number(fields.offset));
    return bytes;
  }
  // The C struct of GET_INFLIGHT_FD has padding at its end.
  const bytes = new Uint8Array(kind === 'inflight' ? 24 : sizeOf(layouts[kind]));
  encodeLayout(layouts[kind], fields, bytes, 0);
  return bytes;
}

/** The fields of the configuration space that a GET_CONFIG or SET_CONFIG covers. */
function namedIn({ offset, size }: Fields): Layout {
  const [first, end] = [Number(offset), Number(offset) + Number(size)];
  return blockConfig.filter(([, width, at]) => at >= first && at + WIDTHS[width] <= end);
}

const WIDTHS: Readonly<Record<Width, number>> = { u8: 1, u16: 2, u32: 4, hex64: 8 };

function sizeOf(layout: Layout): number {
  return Math.max(0, ...layout.map(([, width, at]) => at + WIDTHS[width]));
}

function decodeLayout(layout: Layout, view: DataView, base: number): Fields {
  const fields: Record<string, number | string> = {};
  for (const [name, width, at] of layout) {
    if (width === 'hex64') fields[name] = `0x${view.getBigUint64(base + at, true).toString(16)}`;
    else if (width === 'u32') fields[name] = view.getUint32(base + at, true);
    else if (width === 'u16') fields[name] = view.getUint16(base + at, true);
    else fields[name] = view.getUint8(base + at);
  }
  return fields;
}

function encodeLayout(layout: Layout, fields: Fields, into: Uint8Array, base: number): void {
  const view = new DataView(into.buffer, into.byteOffset, into.length);
  for (const [name, width, at] of layout) {
    const value = fields[name] as number | string;
    if (width === 'hex64') view.setBigUint64(base + at, BigInt(value), true);
    else if (width === 'u32') view.setUint32(base + at, Number(value), true);
    else if (width === 'u16') view.setUint16(base + at, Number(value), true);
    else view.setUint8(base + at, Number(value));
  }
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
