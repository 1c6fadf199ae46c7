// kvm: GSI routing: to pins of the interrupt controllers, or to a message (MSI) for a local APIC.
import type { MsiMessage } from '../sys/msi-message.ts';
import { Scratch } from '../sys/scratch.ts';
import {
  KVM_IRQ_ROUTING_ENTRY as ENTRY,
  IRQCHIPS,
  type IrqchipName,
  KVM_IRQ_ROUTING,
  KVM_IRQ_ROUTING_IRQCHIP,
  KVM_IRQ_ROUTING_MSI,
  KVM_MSI,
} from './constants.ts';
import { ioctlWithStruct, zeroedStruct } from './ioctl.ts';

/** The target of a GSI: a pin of a controller (`pic1`, `pic2`: 0 to 7; `ioapic`: 0 to 23), or a message. */
export type Route = { readonly chip: IrqchipName; readonly pin: number } | { readonly msi: MsiMessage };

/** The routes that KVM_CREATE_IRQCHIP sets up: 0..15 to an 8259 and to the IOAPIC, 16..23 to the IOAPIC only. */
export function defaultRoutes(): Map<number, readonly Route[]> {
  const routes = new Map<number, readonly Route[]>();
  for (let gsi = 0; gsi < 24; gsi++) {
    const ioapic: Route = { chip: 'ioapic', pin: gsi };
    if (gsi >= 16) routes.set(gsi, [ioapic]);
    else routes.set(gsi, [{ chip: gsi < 8 ? 'pic1' : 'pic2', pin: gsi % 8 }, ioapic]);
  }
  return routes;
}

/**
 * The routing table of one VM. KVM replaces the whole table each time ("overwriting any previously set entries",
 * api.rst 4.52), so the table is kept here, changed here, and written as a whole. A write waits until no vCPU uses the
 * old table: change often, commit once.
 */
export class GsiRouting {
  readonly #vmFd: number;
  readonly #routes: Map<number, readonly Route[]>;

  /** @param routes the routes that the kernel has now. */
  constructor(vmFd: number, routes: Map<number, readonly Route[]> = new Map()) {
    this.#vmFd = vmFd;
    this.#routes = routes;
  }

  /** Sets the routes of a GSI, from the next `commit` on. None: the GSI has no effect. */
  set(gsi: number, ...routes: readonly Route[]): this {
    if (routes.length === 0) this.#routes.delete(gsi);
    else this.#routes.set(gsi, routes);
    return this;
  }

  /** Returns the routes of a GSI, uncommitted ones included. */
  get(gsi: number): readonly Route[] {
    return this.#routes.get(gsi) ?? [];
  }

  /** Writes the whole table. Throws SystemError EINVAL if an entry is invalid; the kernel then keeps its old table. */
  commit(): void {
    const entries = [...this.#routes].flatMap(([gsi, routes]) => routes.map((route) => ({ gsi, route })));
    using memory = new Scratch(KVM_IRQ_ROUTING.entries + entries.length * ENTRY.sizeBytes);
    memory.view.setUint32(KVM_IRQ_ROUTING.count, entries.length, true);
    entries.forEach(({ gsi, route }, i) => {
      writeEntry(memory.view, KVM_IRQ_ROUTING.entries + i * ENTRY.sizeBytes, gsi, route);
    });
    const advice = 'a GSI or a pin is out of range (KVM_CAP_IRQ_ROUTING says how many there are)';
    ioctlWithStruct(this.#vmFd, 'KVM_SET_GSI_ROUTING', advice, memory);
  }

  /** Sends a message without a GSI. Returns false if the guest blocks it. KVM_SIGNAL_MSI (api.rst 4.70). */
  signal({ address, data }: MsiMessage): boolean {
    const memory = zeroedStruct(KVM_MSI.sizeBytes);
    memory.setUint32(KVM_MSI.addressLow, address >>> 0, true);
    memory.setUint32(KVM_MSI.addressHigh, Math.floor(address / 2 ** 32), true);
    memory.setUint32(KVM_MSI.data, data, true);
    return ioctlWithStruct(this.#vmFd, 'KVM_SIGNAL_MSI', 'no vCPU has a local APIC that takes it') > 0;
  }
}

function writeEntry(view: DataView<ArrayBuffer>, at: number, gsi: number, route: Route): void {
  view.setUint32(at + ENTRY.gsi, gsi, true);
  if ('msi' in route) {
    const { address, data } = route.msi;
    view.setUint32(at + ENTRY.type, KVM_IRQ_ROUTING_MSI, true);
    view.setUint32(at + ENTRY.msiAddressLow, address >>> 0, true);
    view.setUint32(at + ENTRY.msiAddressHigh, Math.floor(address / 2 ** 32), true);
    view.setUint32(at + ENTRY.msiData, data, true);
  } else {
    view.setUint32(at + ENTRY.type, KVM_IRQ_ROUTING_IRQCHIP, true);
    view.setUint32(at + ENTRY.irqchip, IRQCHIPS[route.chip], true);
    view.setUint32(at + ENTRY.pin, route.pin, true);
  }
}
