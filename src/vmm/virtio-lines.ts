// vmm: the doorbells and interrupts of virtio transports in KVM: ioeventfd, and irqfd for a line or messages.
import type { GsiRouting } from '../kvm/gsi-routing.ts';
import type { IrqFds } from '../kvm/irqfd.ts';
import type { Vm } from '../kvm/vm.ts';
import type { MsiMessage } from '../sys/msi-message.ts';
import type { MsiPort } from '../transports/bus/pci/msix.ts';
import type { DoorbellPort, InterruptPort } from '../transports/bus/transport.ts';
import { GSIS } from './address-map.ts';

/** A notification on PCI has 16 bits (§4.1.5.2): the length to use if the kernel does not support "any length". */
const NOTIFICATION_BYTES = 2;

/** The doorbells of a VM's transports. */
export function doorbellsOf(vm: Vm): DoorbellPort {
  const takesAnyLength = vm.capability('KVM_CAP_IOEVENTFD_ANY_LENGTH') > 0;
  return {
    assign({ lengthBytes, ...place }, eventFd) {
      const length = lengthBytes === 0 && !takesAnyLength ? NOTIFICATION_BYTES : lengthBytes;
      return vm.ioeventfds.assign({ bus: 'mmio', ...place, lengthBytes: length }, eventFd);
    },
  };
}

/** An interrupt line: an edge for each signal of the eventfd. */
export function lineOf(vm: Vm, gsi: number): InterruptPort {
  return { assign: (eventFd) => vm.irqfds.assign({ gsi }, eventFd) };
}

/** Allocates GSIs for messages, one for each vector of each function that was ever unmasked. */
export class MessageGsis {
  readonly #irqfds: IrqFds;
  readonly #routing: GsiRouting;
  #next: number = GSIS.firstMessage;

  constructor(vm: Vm) {
    this.#irqfds = vm.irqfds;
    this.#routing = vm.routing;
  }

  /** Returns the port for the messages of one function. */
  port(): MsiPort {
    const vectors = new Map<number, { readonly gsi: number; message: MsiMessage | undefined }>();
    return {
      assign: (index, message, eventFd) => {
        const vector = vectors.get(index) ?? { gsi: this.#next++, message: undefined };
        vectors.set(index, vector);
        const { message: before, gsi } = vector;
        // Writing the routing table pauses every vCPU, so masking and unmasking alone must not write it.
        if (before?.address !== message.address || before.data !== message.data) {
          this.#route(gsi, message);
          vector.message = message;
        }
        return this.#irqfds.assign({ gsi }, eventFd);
      },
    };
  }

  /** Restores the old route if the kernel refuses the new one: with it in the table, no later commit would succeed. */
  #route(gsi: number, message: MsiMessage): void {
    const before = this.#routing.get(gsi);
    try {
      this.#routing.set(gsi, { msi: message }).commit();
    } catch (problem) {
      this.#routing.set(gsi, ...before);
      throw problem;
    }
  }
}
