// test/kvm: a process that ends while its guest sleeps in KVM_RUN: the test that starts it waits for the end.
import { Kvm } from '../../src/kvm/kvm.ts';
import { VcpuThread } from '../../src/kvm/vcpu-thread.ts';
import { eventually } from '../../src/testing/patience.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';

const COUNTER = 0x3000;
const payload = new Payload().incrementMemory(COUNTER).label('again').hlt().jump('again');
const guest = new PayloadGuest(Kvm.open(), payload, { irqchip: true });
guest.start();
await VcpuThread.start(guest.vcpu, { program: new URL('./spin-program.ts', import.meta.url), data: { exits: 1 } });
await eventually('the guest is about to sleep', () => guest.words[COUNTER / 4] === 1);
process.exit(7);
