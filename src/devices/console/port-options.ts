// virtio-console: the options of a port, and where it leads.
import type { ConsoleSink, ConsoleWritable } from './console-output.ts';
import { type ConsoleSize, checkSize } from './console-size.ts';
import type { ConsoleDescriptor, ConsoleSource, ConsoleStream } from './console-source.ts';

/** Input and output in one: a `Duplex` of Node's, such as a socket, or an end of `duplexPair()`. */
export type ConsoleDuplex = ConsoleStream & ConsoleWritable;

/** Where a port leads. */
export interface PortEnd {
  /**
   * Input for the guest. It is read once the driver has started the device, and not while 64 KiB wait for the guest.
   * Absent: the only input is from `push`.
   */
  readonly input?: ConsoleSource;
  /** Takes what the guest writes. Absent: that is dropped. */
  readonly output?: ConsoleSink;
  /** Both in one, instead of `input` and `output`. It is destroyed when the port is removed or the device is closed. */
  readonly stream?: ConsoleDuplex;
}

/** The options of a port. */
export interface ConsolePortOptions extends PortEnd {
  /** The guest's name for it, /dev/virtio-ports/NAME: 1 to 63 bytes, no other port's. Absent: it has none. */
  readonly name?: string;
  /** A console, /dev/hvc1 and so on, instead of a serial port. Default: false. */
  readonly isConsole?: boolean;
  /** Consoles only: the size of the window; `resize` changes it. */
  readonly size?: ConsoleSize;
  /** Whether the other end is open at first; `setOpen` changes it. Default: true. */
  readonly isOpen?: boolean;
  /** Called when a program of the guest opens or closes the port; a console is open as long as the guest has it. */
  onOpen?(isOpen: boolean): void;
}

export const NAME_BYTES_MAX = 63;

/** Throws TypeError or RangeError for an invalid option. @param needsOutput a port without an output is invalid. */
export function checkPort(options: ConsolePortOptions, needsOutput = false): void {
  const { name, isConsole = false, size } = options;
  checkEnd(options, needsOutput);
  if (name !== undefined) checkName(name);
  if (size === undefined) return;
  if (!isConsole) throw new TypeError(`the port ${name ?? ''} has a size, and is no console: isConsole is false`);
  checkSize(size);
}

/** Throws RangeError for a name that a guest could not make a file of. */
export function checkName(name: string): void {
  const bytes = typeof name === 'string' ? new TextEncoder().encode(name).length : 0;
  if (bytes === 0 || bytes > NAME_BYTES_MAX)
    throw new RangeError(`the name of a port has 1 to ${NAME_BYTES_MAX} bytes, "${name}" has ${bytes}`);
  if (/[\p{Cc}\s/]/u.test(name) || name === '.' || name === '..')
    throw new RangeError(`the name of a port is the name of a file, without spaces and "/": "${name}"`);
}

function checkEnd({ input, output, stream }: PortEnd, needsOutput: boolean): void {
  if (stream !== undefined && (input !== undefined || output !== undefined))
    throw new TypeError('a console has a stream, or an input and an output, and not both');
  if (stream !== undefined && !(isReadable(stream) && isWritable(stream)))
    throw new TypeError('a console’s stream is a Duplex: a socket, an end of duplexPair(), …');
  if (input !== undefined && !isDescriptor(input) && !isReadable(input))
    throw new TypeError('a console’s input is a stream (process.stdin, an async generator, …) or { fd, read(into) }');
  const isMissing = output === undefined && stream === undefined;
  if (isMissing ? needsOutput : output !== undefined && typeof output !== 'function' && !isWritable(output))
    throw new TypeError('a console’s output is a stream (process.stdout, …) or a function that takes bytes');
}

function isDescriptor(source: ConsoleSource): boolean {
  const input = source as Partial<ConsoleDescriptor>;
  return typeof input.fd === 'number' && typeof input.read === 'function';
}

function isReadable(input: object): boolean {
  return typeof (input as Partial<ConsoleStream>)[Symbol.asyncIterator] === 'function';
}

function isWritable(output: object): boolean {
  return typeof (output as Partial<ConsoleWritable>).write === 'function';
}
