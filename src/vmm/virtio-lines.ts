// The microVM: what a virtio transport needs of KVM: doorbells by ioeventfd, a line or messages by irqfd.
import type { GsiRouting } from '../kvm/gsi-routing.ts';
import type { IrqFds } from '../kvm/irqfd.ts';
import type { Vm } from '../kvm/vm.ts';
import type { MsiMessage } from '../sys/msi-message.ts';
import type { MsiPort } from '../transports/bus/pci/msix.ts';
import type { DoorbellPort, InterruptPort } from '../transports/bus/transport.ts';
import { GSIS } from './address-map.ts';

/** A notification on PCI is 16 bits (§4.1.5.2): what is asked for where the kernel cannot take any length. */
const NOTIFICATION_BYTES = 2;

export function doorbellsOf(vm: Vm): DoorbellPort {
  const takesAnyLength = vm.capability('KVM_CAP_IOEVENTFD_ANY_LENGTH') > 0;
  return {
    assign({ lengthBytes, ...place }, eventFd) {
      const length = lengthBytes === 0 && !takesAnyLength ? NOTIFICATION_BYTES : lengthBytes;
      return vm.ioeventfds.assign({ bus: 'mmio', ...place, lengthBytes: length }, eventFd);
    },
  };
}

/** An edge on this line for each ring. */
export function lineOf(vm: Vm, gsi: number): InterruptPort {
  return { assign: (eventFd) => vm.irqfds.assign({ gsi }, eventFd) };
}

/** Hands out the GSIs that lead to messages, one for each vector of each function that was ever unmasked. */
export class MessageGsis {
  readonly #irqfds: IrqFds;
  readonly #routing: GsiRouting;
  #next: number = GSIS.firstMessage;

  constructor(vm: Vm) {
    this.#irqfds = vm.irqfds;
    this.#routing = vm.routing;
  }

  /** The messages of one function. */
  port(): MsiPort {
    const vectors = new Map<number, { readonly gsi: number; message: MsiMessage | undefined }>();
    return {
      assign: (index, message, eventFd) => {
        const vector = vectors.get(index) ?? { gsi: this.#next++, message: undefined };
        vectors.set(index, vector);
        const { message: before, gsi } = vector;
        // Writing the table makes every vCPU pause: masking and unmasking alone must not.
        if (before?.address !== message.address || before.data !== message.data) {
          this.#route(gsi, message);
          vector.message = message;
        }
        return this.#irqfds.assign({ gsi }, eventFd);
      },
    };
  }

  /** A message that the kernel will not have must not stay in the table: nobody's could be changed any more. */
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
