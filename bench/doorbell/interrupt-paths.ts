// bench/doorbell: the paths by which an eventfd interrupts a guest, and the circle from the guest to itself.
import type { EventFd, Vm } from '../../src/kvm/index.ts';
import { addHandlers, COUNTS, MESSAGE, PIC_GSI, setUpInterrupts } from '../../src/testing/interrupt-payload.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PORTS } from './ring-paths.ts';

export type InterruptRoute = 'line' | 'message';
/** `handler`: from write to handler, one at a time. `burst`: writes without waiting. `circle`: the guest to itself. */
export type InterruptKind = 'handler' | 'burst' | 'circle';

export interface InterruptPath {
  readonly key: string;
  readonly name: string;
  /** The name, abbreviated. */
  readonly label: string;
  readonly kind: InterruptKind;
  readonly route: InterruptRoute;
  /** Label of the payload where the guest waits for interrupts. */
  readonly guest: 'asleep' | 'awake' | 'circle';
}

export const INTERRUPT_PATHS: readonly InterruptPath[] = [
  {
    key: 'line-asleep',
    name: 'write to handler, 8259, guest halted',
    label: '8259',
    kind: 'handler',
    route: 'line',
    guest: 'asleep',
  },
  {
    key: 'line-awake',
    name: 'write to handler, 8259, guest busy',
    label: '8259',
    kind: 'handler',
    route: 'line',
    guest: 'awake',
  },
  {
    key: 'message-asleep',
    name: 'write to handler, MSI, guest halted',
    label: 'MSI',
    kind: 'handler',
    route: 'message',
    guest: 'asleep',
  },
  {
    key: 'message-awake',
    name: 'write to handler, MSI, guest busy',
    label: 'MSI',
    kind: 'handler',
    route: 'message',
    guest: 'awake',
  },
  {
    key: 'message-burst',
    name: 'writes back to back, MSI, guest busy',
    label: 'MSI',
    kind: 'burst',
    route: 'message',
    guest: 'awake',
  },
  {
    key: 'line-circle',
    name: 'circle guest, ioeventfd, irqfd, guest, 8259',
    label: 'circle, 8259',
    kind: 'circle',
    route: 'line',
    guest: 'circle',
  },
  {
    key: 'message-circle',
    name: 'circle guest, ioeventfd, irqfd, guest, MSI',
    label: 'circle, MSI',
    kind: 'circle',
    route: 'message',
    guest: 'circle',
  },
];

const MESSAGE_GSI = 24;
/** Guest address of a counter that the guest increments when it has enabled interrupts. */
export const READY = 0x3010;

/** A guest that waits for interrupts; or rings ecx times, and halts each time until its ring has interrupted it. */
export function interruptPayload(route: InterruptRoute): Payload {
  const count = COUNTS[route];
  const payload = new Payload();
  setUpInterrupts(payload.label('circle'));
  payload.set('edx', PORTS.start).out(1).set('edx', PORTS.ring);
  // An interrupt that comes between `sti` and `hlt` waits for the `hlt` and ends it.
  payload.label('again').load('ebx', count).out(1).label('wait').sti().hlt().cli();
  payload.compare(count, 'ebx').jumpIfEqual('wait').decrement('ecx').jumpIfNotZero('again');
  payload.set('edx', PORTS.done).out(1);
  payload.label('sleep').cli().hlt().jump('sleep');
  setUpInterrupts(payload.label('asleep'));
  payload.incrementMemory(READY).sti().label('halted').hlt().jump('halted');
  setUpInterrupts(payload.label('awake'));
  payload.incrementMemory(READY).sti().label('busy').jump('busy');
  addHandlers(payload);
  return payload;
}

/** Registers `bell` as an irqfd; for a circle, also as the guest's ioeventfd. */
export function registerInterrupt({ kind, route }: InterruptPath, vm: Vm, bell: EventFd): void {
  if (route === 'message') vm.routing.set(MESSAGE_GSI, { msi: MESSAGE }).commit();
  vm.irqfds.assign({ gsi: route === 'line' ? PIC_GSI : MESSAGE_GSI }, bell);
  if (kind === 'circle') vm.ioeventfds.assign({ bus: 'pio', address: PORTS.ring, lengthBytes: 1 }, bell);
}
