// Upper floor: interrupts for payloads in real mode: handlers that count, one for a line of the 8259, others for messages.
import { getLocalApic, setLocalApic } from '../kvm/registers.ts';
import type { Payload } from './payload.ts';
import type { PayloadGuest } from './payload-guest.ts';

/** The 8259s' interrupts begin at this vector. */
const PIC_VECTOR = 0x20;
/** The line that the 8259 lets through. */
export const PIC_GSI = 5;
export const MESSAGE = { address: 0xfee0_0000, data: 0x41 } as const;
export const OTHER_MESSAGE = { address: 0xfee0_0000, data: 0x42 } as const;

/** Where the handlers count, 32 bits each: of the line, of MESSAGE, of OTHER_MESSAGE. */
export const COUNTS = { line: 0x3000, message: 0x3004, otherMessage: 0x3008 } as const;

const APIC_EOI = 0xfee0_00b0;
const APIC_SPURIOUS = 0xf0;
const APIC_ENABLED = 0x100;

/** Instructions that make the 8259s ready; al is lost. Interrupts are off before and after. */
export function setUpInterrupts(payload: Payload): void {
  payload.cli().programPics(PIC_VECTOR, 1 << PIC_GSI);
}

/** The handlers; eax is lost in them. To be put where nothing runs into them. */
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

/** Messages reach a local APIC that is switched on; the 8259's line comes through in either case. */
export function enableLocalApic(guest: PayloadGuest, on: boolean): void {
  const apic = getLocalApic(guest.vcpu.fd);
  new DataView(apic.buffer).setUint32(APIC_SPURIOUS, (on ? APIC_ENABLED : 0) | 0xff, true);
  setLocalApic(guest.vcpu.fd, apic);
}
