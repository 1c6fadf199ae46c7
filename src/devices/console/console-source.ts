// virtio-console: the input of a console: a stream, or a descriptor that the device's event loop watches.
import type { DeviceContext } from '../../virtio/device.ts';
import type { Log } from '../../virtio/log.ts';
import { causeOf } from '../../virtio/maybe-promise.ts';

/** Bytes, or text, in pieces: `process.stdin`, a socket, any stream of Node's, an async generator. */
export interface ConsoleStream extends AsyncIterable<Uint8Array | string> {
  /** Called when the device is closed. */
  destroy?(): unknown;
}

/**
 * A descriptor that epoll(7) can watch: a terminal, a pipe, a socket; no regular file. For a device on a thread without
 * Node's loop, where Node's streams do not work.
 *
 * @example
 * const input = { fd: 0, read: (into: Uint8Array) => readSync(0, into) };
 */
export interface ConsoleDescriptor {
  /** The number of the descriptor; it stays the caller's. */
  readonly fd: number;
  /** Called when `fd` is readable. Returns how many bytes of `into` it filled; 0 at the end. */
  read(into: Uint8Array): number;
}

/** The input of a console: a stream, or a descriptor that is watched. */
export type ConsoleSource = ConsoleStream | ConsoleDescriptor;

const READ_BYTES = 4096;

/** What reads a source. */
export interface SourceReader {
  /** Fulfilled when there is room for more. */
  readonly push: (bytes: Uint8Array) => Promise<void>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Reads a source to its end, or until `signal` is aborted. Waits for each promise of `push`. Never rejects: it logs the
 * error.
 */
export async function readSource(
  source: ConsoleSource,
  context: Pick<DeviceContext, 'watch'>,
  { push, log, signal }: SourceReader,
): Promise<void> {
  const encoder = new TextEncoder();
  try {
    for await (const piece of isStream(source) ? source : readDescriptor(source, context, signal)) {
      if (signal.aborted) return;
      await push(typeof piece === 'string' ? encoder.encode(piece) : piece);
    }
  } catch (error) {
    if (!signal.aborted) log(`the input ended: ${causeOf(error)}`);
  }
}

/** Whether a source is a stream. Some of Node's streams have an `fd` too. */
export function isStream(source: ConsoleSource): source is ConsoleStream {
  return Symbol.asyncIterator in source;
}

async function* readDescriptor(
  source: ConsoleDescriptor,
  context: Pick<DeviceContext, 'watch'>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const into = new Uint8Array(READ_BYTES);
  while (!signal.aborted) {
    await isReadable(source.fd, context, signal);
    if (signal.aborted) return;
    const count = readSome(source, into);
    if (count === 0) return;
    if (count !== undefined) yield into.subarray(0, count);
  }
}

/** Returns undefined where another reader was faster: a terminal may have several. */
function readSome(source: ConsoleDescriptor, into: Uint8Array): number | undefined {
  try {
    return source.read(into);
  } catch (error) {
    if ((error as { code?: unknown } | undefined)?.code === 'EAGAIN') return undefined;
    throw error;
  }
}

/**
 * Fulfilled when `fd` is readable, or `signal` is aborted. It is watched only meanwhile, so that no input is read while
 * there is no room for it.
 */
function isReadable(fd: number, context: Pick<DeviceContext, 'watch'>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      watch[Symbol.dispose]();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const watch = context.watch(fd, { readable: done });
    signal.addEventListener('abort', done);
  });
}
