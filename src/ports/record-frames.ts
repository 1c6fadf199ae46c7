// ports: a port around another one that records the frames of both directions, for Wireshark.
import type { NetPort, PortContext } from '../devices/net/net-port.ts';
import { BehindWriter } from './behind-writer.ts';
import {
  DIRECTION,
  frameBlockBytes,
  pcapngHeader,
  STATISTICS_BYTES,
  statisticsBlock,
  writeFrameBlock,
} from './pcapng.ts';

/** The size of a file where no other is said: 1 GiB. */
export const RECORDING_BYTES_DEFAULT = 1024 ** 3;
/** A file has room for the longest frame. */
export const RECORDING_BYTES_MIN = 128 * 1024;

/** Where frames are recorded. */
export interface RecordFramesOptions {
  /** The file, which is made or emptied. */
  readonly file: string;
  /** The largest size of the file, in bytes, 128 KiB or more. Frames beyond it are not recorded. Default 1 GiB. */
  readonly limitBytes?: number | undefined;
  /** The name of the interface in the file. Default `eth0`. */
  readonly name?: string;
}

/**
 * Returns a port that is `next`, and records each frame to and from the guest in a file of the format pcapng, with times
 * in nanoseconds and the direction: outbound is what the guest sends. Frames are recorded as they pass: where the driver
 * uses offloads, with a partial checksum or larger than the MTU. The disk is never waited for: frames that find no room
 * in 4 MiB of memory are not recorded. How many are missing is in the file's last block. Throws an error of node:fs or
 * SystemError for a file that cannot be made, RangeError for a limit that is too small.
 *
 * @example
 * const port = recordFrames(new TapPort('vm0'), { file: '/tmp/vm0.pcapng' });
 * serve(new NetDevice({ port }), { vhostUser: '/tmp/net.sock' });
 */
export function recordFrames(next: NetPort, options: RecordFramesOptions): NetPort {
  return new RecordingPort(next, options);
}

class RecordingPort implements NetPort {
  onFrame: NetPort['onFrame'];
  onLink: NetPort['onLink'];
  readonly #next: NetPort;
  readonly #file: string;
  readonly #limitBytes: number;
  readonly #writer: BehindWriter;
  readonly #originNs = BigInt(Math.round((Date.now() - performance.now()) * 1e6));
  #context: PortContext | undefined;
  #bytes = STATISTICS_BYTES;
  #frames = 0;
  #lost = 0;
  #isFull = false;

  constructor(next: NetPort, { file, limitBytes = RECORDING_BYTES_DEFAULT, name = 'eth0' }: RecordFramesOptions) {
    if (!(limitBytes >= RECORDING_BYTES_MIN))
      throw new RangeError(`a recording of ${limitBytes} bytes: ${RECORDING_BYTES_MIN} or more are wanted`);
    this.#next = next;
    this.#file = file;
    this.#limitBytes = limitBytes;
    this.#writer = new BehindWriter(file);
    const header = pcapngHeader(name);
    this.#bytes += header.length;
    this.#writer.append(header.length, (view, at) => {
      new Uint8Array(view.buffer).set(header, at);
      return at + header.length;
    });
  }

  get offloads(): bigint {
    return this.#next.offloads ?? 0n;
  }

  attach(context: PortContext): void {
    this.#context = context;
    this.#writer.attach(context);
    this.#next.onFrame = (frame, header) => {
      this.#record(frame, DIRECTION.inbound);
      return this.onFrame?.(frame, header) ?? true;
    };
    this.#next.onLink = (isUp) => this.onLink?.(isUp);
    this.#next.attach?.(context);
  }

  send(frame: Uint8Array, header: Uint8Array): unknown {
    this.#record(frame, DIRECTION.outbound);
    return this.#next.send(frame, header);
  }

  #record(frame: Uint8Array, direction: number): void {
    this.#frames++;
    const length = frameBlockBytes(frame.length);
    if (this.#isFull || this.#bytes + length > this.#limitBytes) return this.#full();
    const ns = this.#nowNs();
    if (this.#writer.append(length, (view, at) => writeFrameBlock(view, at, frame, direction, ns)))
      this.#bytes += length;
    else this.#lost++;
  }

  #full(): void {
    this.#lost++;
    if (!this.#isFull) this.#context?.log(`${this.#file} is full: later frames are not recorded`);
    this.#isFull = true;
  }

  #nowNs(): bigint {
    return this.#originNs + BigInt(Math.round(performance.now() * 1e6));
  }

  start(accepted: bigint): void {
    this.#next.start?.(accepted);
  }

  resume(): void {
    this.#next.resume?.();
  }

  async close(): Promise<void> {
    this.#next.onFrame = this.#next.onLink = undefined;
    await this.#next.close?.();
    this.#writer.close(statisticsBlock(this.#nowNs(), this.#frames, this.#lost));
  }
}
