// ports: a network card on an interface of the host, by a packet socket: the guest is one more station of its network.
import type { NetPort, PortContext } from '../devices/net/net-port.ts';
import { PacketSocket } from '../sys/packet-socket.ts';

// §5.1.3: CSUM and GUEST_CSUM; GUEST_TSO4, GUEST_TSO6, GUEST_ECN; HOST_TSO4, HOST_TSO6, HOST_ECN.
const OFFLOADS = 0b11n | (0b111n << 7n) | (0b111n << 11n);
const HEADER_BYTES = 12;
/** Frames read in one turn, so that other descriptors have theirs. */
const FRAMES_A_TURN = 64;

/**
 * A packet socket on an interface, as `packet:eth0`. It gets every frame that the interface receives, and sends frames as
 * they are; the host itself does not see them. While the guest has no buffers nothing is read, and the kernel's own queue
 * of the socket takes what comes, and drops the rest. A VLAN tag that the kernel has taken off a frame is not put back.
 */
export class PacketPort implements NetPort, Disposable {
  readonly offloads = OFFLOADS;
  onFrame: NetPort['onFrame'];
  onLink: NetPort['onLink'];
  readonly #socket: PacketSocket;
  #context: PortContext | undefined;
  #watch: Disposable | undefined;

  /** Opens a socket on the interface `name`. Throws SystemError. */
  constructor(name: string) {
    this.#socket = PacketSocket.open(name);
  }

  attach(context: PortContext): void {
    this.#context = context;
    this.#read();
  }

  send(frame: Uint8Array, header: Uint8Array): boolean {
    return this.#socket.write(header, frame);
  }

  resume(): void {
    if (this.#watch === undefined && this.#context !== undefined) this.#read();
  }

  #read(): void {
    this.#watch = this.#context?.watch(this.#socket.fd, { readable: this.#readable });
  }

  readonly #readable = (): void => {
    for (let i = 0; i < FRAMES_A_TURN; i++) {
      const packet = this.#next();
      if (packet === 'none') return;
      if (packet === 'down') return this.#down();
      if (packet === 'skipped') continue;
      const isTaken = this.onFrame?.(packet.subarray(HEADER_BYTES), packet.subarray(0, HEADER_BYTES)) ?? true;
      if (!isTaken) return this.#pause();
    }
  };

  #next() {
    try {
      return this.#socket.read();
    } catch (error) {
      this.#context?.log((error as Error).message);
      return 'none';
    }
  }

  /** One that is down comes up again by itself; the socket of one that was removed never does. */
  #down(): void {
    const { name, isGone } = this.#socket;
    if (!isGone) return this.#context?.log(`${name} is down: "ip link set ${name} up"`);
    this.#pause();
    this.#context?.log(`${name} is gone, and the link is down`);
    this.#context = undefined;
    this.onLink?.(false);
  }

  #pause(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  close(): void {
    this.#pause();
    this.#context = undefined;
    this.#socket[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
