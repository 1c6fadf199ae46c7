// testing: a machine without KVM for transports in this process: models the buses, doorbells and interrupts of the
// kernel.
import type { EventFd } from '../sys/event-fd.ts';
import { EventLoop } from '../sys/event-loop.ts';
import type { MsiMessage } from '../sys/msi-message.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import type { MsiPort } from '../transports/bus/pci/msix.ts';
import type {
  DoorbellPlace,
  DoorbellPort,
  InterruptPort,
  Transport,
  TransportOptions,
} from '../transports/bus/transport.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { GuestMemory } from '../virtio/guest-memory.ts';
import { Bus } from '../vmm/bus.ts';
import type { RawGuest } from './raw-guest.ts';

export interface StandInOptions {
  /** The kernel refuses doorbells: every kick causes an exit. */
  readonly refusesDoorbells?: boolean;
  /** Used in place of the machine's own. */
  readonly doorbells?: DoorbellPort;
}

interface Doorbell {
  readonly place: DoorbellPlace;
  readonly eventFd: EventFd;
}

/** Buses, doorbells and interrupts for one transport, without KVM. */
export class StandInMachine {
  readonly memory = new Bus();
  readonly ports = new Bus();
  /** The lines that transports and hosts logged. */
  readonly lines: string[] = [];
  /** Messages that were sent and not returned by `takeMessages` yet. */
  #messages: MsiMessage[] = [];
  /** The hosts on this thread, in the order of `optionsFor`. */
  readonly hosts: LocalHost[] = [];
  readonly loop = new EventLoop();
  readonly #ride = rideNodeLoop(this.loop);
  readonly #doorbells = new Set<Doorbell>();
  readonly #connected = new Map<EventFd, MsiMessage>();
  readonly #options: StandInOptions;
  #line: EventFd | undefined;

  constructor(options: StandInOptions = {}) {
    this.#options = options;
  }

  /** Returns the options of a transport for `device`, whose queues run on this thread in the guest's memory. */
  optionsFor(device: VirtioDevice, guest: RawGuest): TransportOptions {
    const log = (line: string): void => {
      this.lines.push(line);
    };
    const host = new LocalHost(device, this.loop, { log, guest: new GuestMemory([guest.memory]) });
    this.hosts.push(host);
    return { host, loop: this.loop, log, doorbells: this.#options.doorbells ?? this.#doorbellPort };
  }

  readonly #doorbellPort: DoorbellPort = {
    assign: (place, eventFd) => {
      if (this.#options.refusesDoorbells) throw new Error('this kernel has no room for doorbells');
      const doorbell = { place, eventFd };
      this.#doorbells.add(doorbell);
      return { [Symbol.dispose]: () => void this.#doorbells.delete(doorbell) };
    },
  };

  /** The places of the registered doorbells. */
  get doorbellPlaces(): readonly DoorbellPlace[] {
    return [...this.#doorbells].map(({ place }) => place);
  }

  readonly line: InterruptPort = {
    assign: (eventFd) => {
      this.#line = eventFd;
      return { [Symbol.dispose]: () => (this.#line = undefined) };
    },
  };

  /** Whether the line was raised since the last call. */
  takeLine(): boolean {
    return this.#line?.clear() ?? false;
  }

  readonly messages: MsiPort = {
    assign: (_vector, message, eventFd) => {
      const send = (): void => {
        if (eventFd.clear()) this.#messages.push(message);
      };
      send();
      this.#connected.set(eventFd, message);
      return {
        [Symbol.dispose]: () => {
          send();
          this.#connected.delete(eventFd);
        },
      };
    },
  };

  /** Returns the messages that were sent since the last call. */
  takeMessages(): MsiMessage[] {
    for (const [eventFd, message] of this.#connected) if (eventFd.clear()) this.#messages.push(message);
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  /** A guest's write to an address without memory: to a doorbell, or to a device. */
  write(address: number, sizeBytes: number, value: number): void | Promise<void> {
    const doorbell = [...this.#doorbells].find(({ place }) => {
      if (place.address !== address || (place.lengthBytes !== 0 && place.lengthBytes !== sizeBytes)) return false;
      return place.value === undefined || place.value === value;
    });
    if (doorbell === undefined) return this.memory.write(address, sizeBytes, value);
    doorbell.eventFd.signal();
  }

  read(address: number, sizeBytes: number): number {
    return this.memory.read(address, sizeBytes);
  }

  async close(transport: Transport): Promise<void> {
    await transport.close();
    this.#ride[Symbol.dispose]();
    this.loop[Symbol.dispose]();
  }
}
