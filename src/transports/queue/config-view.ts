// Ground floor: what one driver has read and written of a device's configuration space (VIRTIO 1.3 §2.5).
import type { DeviceConfig } from '../../virtio/device.ts';
import type { DeviceHost } from './queue-host.ts';

/** Writes to different places that are kept; a driver that writes to more loses the oldest when its queues move. */
const WRITES_MAX = 64;

export class ConfigView {
  readonly #config: DeviceConfig | undefined;
  /** The space as the driver last read it. */
  #seen: Uint8Array | undefined;
  /** By place, the latest last: a host that takes over has to be told. */
  readonly #writes = new Map<string, { readonly offset: number; readonly bytes: Uint8Array }>();

  constructor(config: DeviceConfig | undefined) {
    this.#config = config;
  }

  /** Bytes of the space. */
  get sizeBytes(): number {
    return this.#config?.bytes.length ?? 0;
  }

  /** Bytes beyond the space read as zeroes. */
  read(offset: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    if (this.#config === undefined) return bytes;
    bytes.set(this.#config.bytes.subarray(offset, offset + sizeBytes));
    if (this.#seen === undefined || this.isStale) this.#seen = this.#config.bytes.slice();
    return bytes;
  }

  /** Whether the driver has read what is no longer so. */
  get isStale(): boolean {
    const now = this.#config?.bytes;
    return this.#seen?.some((byte, place) => byte !== now?.[place]) ?? false;
  }

  /** False: the device lets nobody write there. Fulfilled when it holds on every thread of `host`. */
  async write(host: DeviceHost, offset: number, bytes: Uint8Array): Promise<boolean> {
    const wasStale = this.isStale;
    if (!(await host.writeConfig(offset, bytes))) return false;
    const place = `${offset}+${bytes.length}`;
    this.#writes.delete(place);
    this.#writes.set(place, { offset, bytes });
    if (this.#writes.size > WRITES_MAX) this.#writes.delete(this.#writes.keys().next().value as string);
    // It knows what it wrote.
    if (this.#seen !== undefined && !wasStale) this.#seen = this.#config?.bytes.slice();
    return true;
  }

  /** Tells a host that does not know it what the driver wrote. */
  async repeat(host: DeviceHost): Promise<void> {
    for (const { offset, bytes } of this.#writes.values()) await host.writeConfig(offset, bytes);
  }

  /** The driver begins anew: its writes hold no longer. */
  forgetWrites(): void {
    this.#writes.clear();
  }
}
