// test/kvm: a process whose guest exits as often as the first argument says, each time to signal an eventfd; then it ends.

import { EMPTY_LOOP, RING_PATHS, ringPayload } from '../../bench/doorbell/ring-paths.ts';
import { RingThread } from '../../bench/doorbell/ring-thread.ts';
import { Kvm } from '../../src/kvm/kvm.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';

const path = RING_PATHS.find(({ key }) => key === 'exit-pio') ?? EMPTY_LOOP;
using kvm = Kvm.open();
const guest = new PayloadGuest(kvm, ringPayload(path), { irqchip: true });
await using thread = await RingThread.start(guest, 0, () => {});
const { exits } = await thread.run(Number(process.argv[2]));
console.log(`${exits} exits`);
