// ports: a network card at a tap interface of the kernel, with all its offloads.
import type { NetPort, PortContext } from '../devices/net/net-port.ts';
import { Tap, TUN_F } from '../sys/tap.ts';

// §5.1.3: the bits of the offloads, by number.
const CSUM = 1n << 0n;
const GUEST_CSUM = 1n << 1n;
const GUEST_TSO4 = 1n << 7n;
const GUEST_TSO6 = 1n << 8n;
const GUEST_ECN = 1n << 9n;
const HOST_TSO4_TO_ECN = 0b111n << 11n;
const HOST_UFO = 1n << 14n;
const GUEST_USO4 = 1n << 54n;
const GUEST_USO6 = 1n << 55n;
const HOST_USO = 1n << 56n;
const ALWAYS = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | HOST_TSO4_TO_ECN | HOST_UFO;
/** Linux has them since 6.2, both together. */
const USO = GUEST_USO4 | GUEST_USO6 | HOST_USO;
const TUN_USO = TUN_F.USO4 | TUN_F.USO6;

/** Frames read in one turn, so that other descriptors have theirs. */
const FRAMES_A_TURN = 64;
const HEADER_BYTES = 12;

/** The address of an interface has at most so many bytes. */
export const TAP_NAME_MAX = 15;

/**
 * A tap interface: one that exists, or that is made where the process may. While the guest has no buffers nothing is
 * read, and the kernel's own queue of the interface takes what comes; what is beyond that it drops and counts
 * (`ip -s link`).
 */
export class TapPort implements NetPort, Disposable {
  readonly offloads: bigint;
  onFrame: NetPort['onFrame'];
  onLink: NetPort['onLink'];
  readonly #tap: Tap;
  #context: PortContext | undefined;
  #watch: Disposable | undefined;

  /** Opens the tap `name`. Throws SystemError. */
  constructor(name: string) {
    this.#tap = Tap.open(name);
    const hasUso = this.#tap.setOffloads(TUN_F.CSUM | TUN_USO);
    this.#tap.setOffloads(0);
    this.offloads = ALWAYS | (hasUso ? USO : 0n);
  }

  attach(context: PortContext): void {
    this.#context = context;
    if (this.#tap.isNew) context.log(`${this.#tap.name} is a new tap, and down: "ip link set ${this.#tap.name} up"`);
    this.#read();
  }

  start(accepted: bigint): void {
    const has = (bits: bigint): boolean => (accepted & bits) === bits;
    const tso = (has(GUEST_TSO4) ? TUN_F.TSO4 : 0) | (has(GUEST_TSO6) ? TUN_F.TSO6 : 0);
    const ecn = tso !== 0 && has(GUEST_ECN) ? TUN_F.TSO_ECN : 0;
    const uso = has(GUEST_USO4 | GUEST_USO6) ? TUN_USO : 0;
    const flags = has(GUEST_CSUM) ? TUN_F.CSUM | tso | ecn | uso : 0;
    if (!this.#tap.setOffloads(flags))
      this.#context?.log(`${this.#tap.name}: the kernel refuses offloads 0x${flags.toString(16)}`);
  }

  send(frame: Uint8Array, header: Uint8Array): boolean {
    return this.#tap.write(header, frame);
  }

  resume(): void {
    if (this.#watch === undefined && this.#context !== undefined) this.#read();
  }

  #read(): void {
    this.#watch = this.#context?.watch(this.#tap.fd, { readable: this.#readable });
  }

  readonly #readable = (): void => {
    try {
      for (let i = 0; i < FRAMES_A_TURN; i++) {
        const packet = this.#tap.read();
        if (packet === undefined) return;
        const isTaken = this.onFrame?.(packet.subarray(HEADER_BYTES), packet.subarray(0, HEADER_BYTES)) ?? true;
        if (!isTaken) return this.#pause();
      }
    } catch (error) {
      this.#pause();
      this.#context?.log(`${this.#tap.name} is gone, and the link is down: ${(error as Error).message}`);
      this.#context = undefined;
      this.onLink?.(false);
    }
  };

  #pause(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  close(): void {
    this.#pause();
    this.#context = undefined;
    this.#tap[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
