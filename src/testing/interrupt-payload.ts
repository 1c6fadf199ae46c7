// testing: interrupt handlers for payloads in real mode, which count: one for a line of the 8259, others for
// messages.
import { getLocalApic, setLocalApic } from '../kvm/registers.ts';
import type { Payload } from './payload.ts';
import type { PayloadGuest } from './payload-guest.ts';

/** The 8259s' interrupts begin at this vector. */
const PIC_VECTOR = 0x20;
/** The line that is unmasked in the 8259. */
export const PIC_GSI = 5;
export const MESSAGE = { address: 0xfee0_0000, data: 0x41 } as const;
export const OTHER_MESSAGE = { address: 0xfee0_0000, data: 0x42 } as const;

/** The handlers' counters, 32 bits each: for the line, MESSAGE and OTHER_MESSAGE. */
export const COUNTS = { line: 0x3000, message: 0x3004, otherMessage: 0x3008 } as const;

const APIC_EOI = 0xfee0_00b0;
const APIC_SPURIOUS = 0xf0;
const APIC_ENABLED = 0x100;

/** Adds the instructions that set the 8259s up; al is lost. Interrupts are off before and after. */
export function setUpInterrupts(payload: Payload): void {
  payload.cli().programPics(PIC_VECTOR, 1 << PIC_GSI);
}

/** Adds the handlers; eax is lost in them. Call it where the code before does not run on into them. */
export function addHandlers(payload: Payload): void {
  payload.label('on-line').incrementMemory(COUNTS.line).outByte(0x20, 0x20).iret();
  payload.label('on-message').incrementMemory(COUNTS.message).store(APIC_EOI, 'eax').iret();
  payload.label('on-other-message').incrementMemory(COUNTS.otherMessage).store(APIC_EOI, 'eax').iret();
}

/** Points the interrupt table at the handlers, and switches the local APIC on. */
export function installHandlers(guest: PayloadGuest): void {
  guest.handle(PIC_VECTOR + PIC_GSI, 'on-line');
  guest.handle(MESSAGE.data, 'on-message');
  guest.handle(OTHER_MESSAGE.data, 'on-other-message');
  enableLocalApic(guest, true);
}

/** Enables or disables the local APIC. Messages need it enabled; the 8259's line works in either case. */
export function enableLocalApic(guest: PayloadGuest, on: boolean): void {
  const apic = getLocalApic(guest.vcpu.fd);
  new DataView(apic.buffer).setUint32(APIC_SPURIOUS, (on ? APIC_ENABLED : 0) | 0xff, true);
  setLocalApic(guest.vcpu.fd, apic);
}
