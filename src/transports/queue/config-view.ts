// queue: what one driver has read and written in a device's configuration space (VIRTIO 1.3 §2.5).
import type { DeviceConfig } from '../../virtio/device.ts';
import type { DeviceHost } from './queue-host.ts';

/**
 * How many writes to different places are kept. Beyond this the oldest is not repeated when the queues move to another
 * host.
 */
const WRITES_MAX = 64;

/**
 * One driver's view of a configuration space: whether what it read is stale, and what a host that takes over has to be
 * sent.
 */
export class ConfigView {
  readonly #config: DeviceConfig | undefined;
  /** The space as the driver last read it. */
  #seen: Uint8Array | undefined;
  /** The driver's writes by place, the latest last, to repeat to a host that takes over. */
  readonly #writes = new Map<string, { readonly offset: number; readonly bytes: Uint8Array }>();

  constructor(config: DeviceConfig | undefined) {
    this.#config = config;
  }

  /** Size of the configuration space. */
  get sizeBytes(): number {
    return this.#config?.bytes.length ?? 0;
  }

  /** Returns `sizeBytes` bytes at `offset`; bytes beyond the space are zero. */
  read(offset: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    if (this.#config === undefined) return bytes;
    bytes.set(this.#config.bytes.subarray(offset, offset + sizeBytes));
    if (this.#seen === undefined || this.isStale) this.#seen = this.#config.bytes.slice();
    return bytes;
  }

  /** Whether a byte changed after the driver read the space. */
  get isStale(): boolean {
    const now = this.#config?.bytes;
    return this.#seen?.some((byte, place) => byte !== now?.[place]) ?? false;
  }

  /** Writes through `host`. Resolves when every thread has applied it: to false where the bytes are read-only. */
  async write(host: DeviceHost, offset: number, bytes: Uint8Array): Promise<boolean> {
    const wasStale = this.isStale;
    if (!(await host.writeConfig(offset, bytes))) return false;
    const place = `${offset}+${bytes.length}`;
    this.#writes.delete(place);
    this.#writes.set(place, { offset, bytes });
    if (this.#writes.size > WRITES_MAX) this.#writes.delete(this.#writes.keys().next().value as string);
    // The driver knows the bytes that it wrote.
    if (this.#seen !== undefined && !wasStale) this.#seen = this.#config?.bytes.slice();
    return true;
  }

  /** Repeats the driver's writes to a host that takes over. */
  async repeat(host: DeviceHost): Promise<void> {
    for (const { offset, bytes } of this.#writes.values()) await host.writeConfig(offset, bytes);
  }

  /** Forgets the driver's writes, after a reset. */
  forgetWrites(): void {
    this.#writes.clear();
  }
}
