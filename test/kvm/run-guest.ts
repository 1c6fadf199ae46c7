// test/kvm: runs a payload to its end on this thread, and notes every exit it needed on the way.
import { KVM_EXIT_HLT, KVM_EXIT_IO, KVM_EXIT_MMIO } from '../../src/kvm/constants.ts';
import type { PayloadGuest } from '../../src/testing/payload-guest.ts';

/** Writing a byte to this port ends a run, with an irqchip as without. */
export const DONE_PORT = 0xf4;
const EXITS_MAX = 10_000;

/** Runs to `hlt` (without irqchip) or to a write to DONE_PORT. Gives the other exits in words, as `mmio 0xd000 = 1`. */
export function exitsOf(guest: PayloadGuest, answer = 0): string[] {
  const { vcpu } = guest;
  const { io, mmio } = vcpu.exits;
  const seen: string[] = [];
  while (seen.length < EXITS_MAX) {
    const reason = vcpu.run();
    if (reason === KVM_EXIT_HLT || (reason === KVM_EXIT_IO && io.port === DONE_PORT && io.sizeBytes === 1)) return seen;
    if (reason === KVM_EXIT_IO) {
      if (!io.isOut) io.value = answer;
      seen.push(`${io.isOut ? 'out' : 'in'} 0x${io.port.toString(16)} = ${io.value}`);
    } else if (reason === KVM_EXIT_MMIO) {
      if (!mmio.isWrite) mmio.value = answer;
      seen.push(`${mmio.isWrite ? 'write' : 'read'} 0x${mmio.address.toString(16)} = ${mmio.value}`);
    } else throw new Error(`the payload stopped: ${vcpu.exits.describe()}`);
  }
  throw new Error('the payload does not end');
}
