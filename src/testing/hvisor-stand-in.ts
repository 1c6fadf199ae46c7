// testing: a stand-in for hvisor: a bridge page, zone memory and the hypervisor's steps, each of which can go wrong as
// they do on the real one.
import type { EventFd } from '../sys/event-fd.ts';
import { closeFd } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import { createMemfd } from '../sys/memfd.ts';
import {
  BRIDGE_BYTES,
  BRIDGE_SLOTS,
  BridgeOffset,
  PENDING_INTERRUPTS_MAX,
  REQUEST_BYTES,
  RequestOffset,
} from '../transports/hvisor/bridge-layout.ts';
import type { HvisorPort } from '../transports/hvisor/hvisor-port.ts';

/** Where zone 0 has the memory of the stand-in's zones. */
export const ZONE0_IPA = 0x5000_0000;
const MASK = BRIDGE_SLOTS - 1;

/** One access, as a CPU of a zone makes it. */
export interface ZoneAccess {
  readonly zone: number;
  readonly cpu: number;
  readonly address: number;
  readonly sizeBytes: number;
  readonly isWrite: boolean;
  /** The whole register of the CPU, of 64 bits. */
  readonly value?: bigint;
  /** Default: by the offset, as hvisor decides it. */
  readonly isAsynchronous?: boolean;
}

/** What goes wrong from now on. */
export interface HvisorFaults {
  /** So many of the next wake-ups are dropped. */
  dropWakeups?: number;
  /** So many of the next injections are dropped. */
  dropInjections?: number;
  /** hvisor before March 2026: looks whether to wake before it publishes the request. */
  readsWakeupFirst?: boolean;
  /** FINISH_REQ leaves the results in the ring. */
  leavesResults?: boolean;
  /** FINISH_REQ fails. */
  refusesFinish?: boolean;
}

interface Page {
  readonly fd: number;
  readonly words: Uint32Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mapping: Mapping;
}

/** The hypervisor, its module and the CPUs of its zones. */
export class HvisorStandIn implements Disposable {
  readonly faults: HvisorFaults = {};
  /** The zones that run. A result for another one is skipped. */
  readonly zones = new Set<number>([1]);
  /** Where QueueNotify is in the devices' windows. */
  readonly notifyAddresses = new Set<number>();
  /** Interrupts that a CPU handles, until `endOfInterrupt`: hvisor drops those that come meanwhile. */
  readonly #active = new Set<string>();
  readonly #pending = new Set<string>();
  readonly #memoryFd: number;
  readonly #resources = new DisposableStack();
  #page: Page;
  #eventFd: EventFd | undefined;
  finishes = 0;
  wakeups = 0;

  readonly #memoryAt: number;

  /** @param memoryFd the file that is the zones' memory, from `memoryAt` of zone 0 on. */
  constructor(memoryFd: number, memoryAt = ZONE0_IPA) {
    this.#memoryFd = memoryFd;
    this.#memoryAt = memoryAt;
    this.#page = this.#newPage();
  }

  #newPage(): Page {
    const fd = createMemfd('bridge', BRIDGE_BYTES);
    const mapping = this.#resources.use(Mapping.ofFile(fd, BRIDGE_BYTES));
    this.#resources.defer(() => closeFd(fd));
    return { fd, mapping, bytes: mapping.bytes, words: new Uint32Array(mapping.bytes.buffer) };
  }

  /** What opening /dev/hvisor and INIT_VIRTIO do: a new page each time, and the one before is not looked at any more. */
  open(): HvisorPort {
    this.#page = this.#newPage();
    const mappings = [Mapping.ofFile(this.#page.fd, BRIDGE_BYTES)];
    const [{ bytes }] = mappings as [Mapping];
    return {
      page: bytes,
      setEventFd: (eventFd) => {
        this.#eventFd = eventFd;
      },
      mapMemory: (zone0Ipa, sizeBytes) => {
        const mapping = Mapping.ofFile(this.#memoryFd, sizeBytes, { offset: zone0Ipa - this.#memoryAt });
        mappings.push(mapping);
        return mapping.bytes;
      },
      finish: () => this.#finish(),
      [Symbol.dispose]: () => {
        this.#eventFd = undefined;
        for (const mapping of mappings) mapping[Symbol.dispose]();
      },
    };
  }

  /** A CPU makes an access. Returns whether it was answered; undefined when the ring is full: the CPU tries again. */
  access(access: ZoneAccess): (() => boolean) | undefined {
    const flag = BridgeOffset.answerFlags / 4 + 2 * access.cpu;
    const { words } = this.#page;
    const before = Atomics.load(words, flag);
    if (!this.push(access)) return undefined;
    return () => Atomics.load(words, flag) !== before;
  }

  /** What the register of a CPU gets from an answer: all 64 bits. */
  answerOf(cpu: number): bigint {
    const at = BridgeOffset.answerValues / 4 + 2 * cpu;
    const { words } = this.#page;
    return (BigInt(words[at + 1] as number) << 32n) | BigInt(words[at] as number);
  }

  /** How many answers a CPU got. */
  answersOf(cpu: number): number {
    return Atomics.load(this.#page.words, BridgeOffset.answerFlags / 4 + 2 * cpu);
  }

  get hasRequests(): boolean {
    const { words } = this.#page;
    return Atomics.load(words, BridgeOffset.requestFront / 4) !== Atomics.load(words, BridgeOffset.requestRear / 4);
  }

  /** Pushes a request, and wakes the daemon if it wants that. Returns false when the ring is full. */
  push(access: ZoneAccess): boolean {
    const { words, bytes } = this.#page;
    const rear = Atomics.load(words, BridgeOffset.requestRear / 4);
    const next = (rear + 1) & MASK;
    if (next === Atomics.load(words, BridgeOffset.requestFront / 4)) return false;
    this.#writeRequest(BridgeOffset.requests + rear * REQUEST_BYTES, access);
    const wantedBefore = Atomics.load(bytes, BridgeOffset.needWakeup) === 1;
    Atomics.store(words, BridgeOffset.requestRear / 4, next);
    const isWanted = Atomics.load(bytes, BridgeOffset.needWakeup) === 1;
    if (this.faults.readsWakeupFirst ? wantedBefore : isWanted) this.wake();
    return true;
  }

  #writeRequest(at: number, access: ZoneAccess): void {
    const { cpu, zone, address, sizeBytes, isWrite, value = 0n } = access;
    const view = new DataView(this.#page.bytes.buffer);
    view.setBigUint64(at + RequestOffset.cpu, BigInt(cpu), true);
    view.setBigUint64(at + RequestOffset.address, BigInt(address), true);
    view.setBigUint64(at + RequestOffset.size, BigInt(sizeBytes), true);
    view.setBigUint64(at + RequestOffset.value, value, true);
    view.setUint32(at + RequestOffset.zone, zone, true);
    view.setUint8(at + RequestOffset.isWrite, isWrite ? 1 : 0);
    view.setUint8(at + RequestOffset.isAsynchronous, this.isAsynchronous(access) ? 1 : 0);
  }

  /** Whether nobody waits for the answer. hvisor decides by the address alone: a read there is asynchronous too. */
  isAsynchronous({ address, isAsynchronous }: ZoneAccess): boolean {
    return isAsynchronous ?? this.notifyAddresses.has(address);
  }

  /** Wakes the daemon, also without cause. */
  wake(): void {
    const { dropWakeups = 0 } = this.faults;
    if (dropWakeups > 0) {
      this.faults.dropWakeups = dropWakeups - 1;
      return;
    }
    this.wakeups++;
    this.#eventFd?.signal();
  }

  #finish(): void {
    this.finishes++;
    if (this.faults.refusesFinish) throw new Error('FINISH_REQ is refused');
    if (this.faults.leavesResults) return;
    const { words } = this.#page;
    const rear = Atomics.load(words, BridgeOffset.resultRear / 4);
    let front = Atomics.load(words, BridgeOffset.resultFront / 4);
    for (; front !== rear; front = (front + 1) & MASK) {
      const at = BridgeOffset.results / 4 + 2 * front;
      this.inject(words[at] as number, words[at + 1] as number);
    }
    Atomics.store(words, BridgeOffset.resultFront / 4, front);
  }

  /** Injects an interrupt, also without cause; drops it while the CPU handles one of that number. */
  inject(zone: number, irq: number): void {
    const { dropInjections = 0 } = this.faults;
    if (!this.zones.has(zone)) return;
    if (dropInjections > 0) this.faults.dropInjections = dropInjections - 1;
    else if (!this.#active.has(`${zone}/${irq}`)) this.#pending.add(`${zone}/${irq}`);
    if (this.#pending.size > PENDING_INTERRUPTS_MAX) throw new Error('hvisor panics: too many interrupts on a CPU');
  }

  /** The CPU takes a pending interrupt, which is then active. Returns false when there is none. */
  takeInterrupt(zone: number, irq: number): boolean {
    if (!this.#pending.delete(`${zone}/${irq}`)) return false;
    this.#active.add(`${zone}/${irq}`);
    return true;
  }

  endOfInterrupt(zone: number, irq: number): void {
    this.#active.delete(`${zone}/${irq}`);
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
