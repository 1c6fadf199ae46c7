// test/kvm: a process that ends while its guest sleeps in KVM_RUN: the test that starts it waits for the end.
import { Kvm } from '../../src/kvm/kvm.ts';
import { VcpuThread } from '../../src/kvm/vcpu-thread.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';

const guest = new PayloadGuest(Kvm.open(), new Payload().label('again').hlt().jump('again'), { irqchip: true });
guest.start();
await VcpuThread.start(guest.vcpu, { program: new URL('./spin-program.ts', import.meta.url), data: { exits: 1 } });
setTimeout(() => process.exit(7), 50);
