// Which writes of a guest ring which doorbell, and what the guest's processor notices, against the real kernel.
import assert from 'node:assert/strict';
import type { Doorbell } from '../../src/kvm/ioeventfd.ts';
import type { Kvm } from '../../src/kvm/kvm.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { Payload, type PayloadMode } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { takeCount } from './event-count.ts';
import { DATAMATCH, ioeventfd, kvmTest } from './kvm-case.ts';
import { exitsOf } from './run-guest.ts';

const MMIO = 0xd000_0800;
const PORT = 0xe0;

/** Runs `payload` with these doorbells; how often each rang, and what left the guest. */
function ring(kvm: Kvm, payload: Payload, doorbells: readonly Doorbell[]): { rings: number[]; exits: string[] } {
  using guest = new PayloadGuest(kvm, payload.hlt());
  using stack = new DisposableStack();
  const bells = doorbells.map((doorbell) => {
    const bell = stack.use(EventFd.create());
    guest.vm.ioeventfds.assign(doorbell, bell);
    return bell;
  });
  guest.start();
  const exits = exitsOf(guest);
  return { rings: bells.map(takeCount), exits };
}

const mmio = { bus: 'mmio', address: MMIO, lengthBytes: 4 } as const;
const pio = { bus: 'pio', address: PORT, lengthBytes: 2 } as const;

kvmTest('a write to the address rings, and the guest runs on', (kvm) => {
  const payload = new Payload().set('eax', 7).store(MMIO, 'eax').store(MMIO, 'eax');
  assert.deepEqual(ring(kvm, payload, [mmio]), { rings: [2], exits: [] });
});

kvmTest('an out to the port rings, and the guest runs on', (kvm) => {
  const payload = new Payload().set('edx', PORT).set('eax', 7).out(2).out(2).out(2);
  assert.deepEqual(ring(kvm, payload, [pio]), { rings: [3], exits: [] });
});

kvmTest('the address must be equal: its neighbours, and a wider write over it, leave the guest', (kvm) => {
  const payload = new Payload()
    .set('eax', 1)
    .store(MMIO + 1, 'eax', 1)
    .store(MMIO + 4, 'eax')
    .store(MMIO - 2, 'eax');
  const exits = ['write 0xd0000801 = 1', 'write 0xd0000804 = 1', 'write 0xd00007fe = 1'];
  assert.deepEqual(ring(kvm, payload, [mmio]), { rings: [0], exits });
});

kvmTest('the length must be equal', (kvm) => {
  const payload = new Payload().set('eax', 1).store(MMIO, 'eax', 1).store(MMIO, 'eax', 2).store(MMIO, 'eax', 4);
  assert.deepEqual(ring(kvm, payload, [mmio]), { rings: [1], exits: ['write 0xd0000800 = 1', 'write 0xd0000800 = 1'] });
});

kvmTest('a write across two pages is two writes, and the second half rings', (kvm) => {
  const payload = new Payload().set('eax', 0x5_0000).store(0xd000_0ffe, 'eax');
  const half: Doorbell = { bus: 'mmio', address: 0xd000_1000, lengthBytes: 2, value: 5 };
  assert.deepEqual(ring(kvm, payload, [half]), { rings: [1], exits: ['write 0xd0000ffe = 0'] });
});

kvmTest('any length rings for all lengths, on both buses', (kvm) => {
  const payload = new Payload().set('eax', 1).store(MMIO, 'eax', 1).store(MMIO, 'eax', 2).store(MMIO, 'eax', 4);
  payload.set('edx', PORT).out(1).out(2).out(4);
  const doorbells: Doorbell[] = [
    { ...mmio, lengthBytes: 0 },
    { ...pio, lengthBytes: 0 },
  ];
  assert.deepEqual(ring(kvm, payload, doorbells), { rings: [3, 3], exits: [] });
});

kvmTest('a write of 8 bytes rings a doorbell of 8 bytes, by all of its value', (kvm) => {
  const address = 0x2000_0000;
  const payload = new Payload('long').set('eax', 5).store(address, 'eax', 8).store(address, 'eax', 4);
  const doorbell: Doorbell = { bus: 'mmio', address, lengthBytes: 8 };
  const exits = ['write 0x20000000 = 5'];
  assert.deepEqual(ring(kvm, payload, [{ ...doorbell, value: 5n }]), { rings: [1], exits });
  assert.deepEqual(ring(kvm, payload, [{ ...doorbell, value: 0x1_0000_0005n }]), {
    rings: [0],
    exits: [...exits, ...exits],
  });
});

for (const mode of ['real', 'long'] satisfies PayloadMode[]) {
  kvmTest(`two values at one address ring one eventfd each; a third leaves the guest (${mode} mode)`, (kvm) => {
    const address = mode === 'real' ? MMIO : 0x2000_0000;
    const payload = new Payload(mode);
    for (const value of [1, 2, 1, 3, 1]) payload.set('eax', value).store(address, 'eax');
    const doorbells = [1, 2].map((value): Doorbell => ({ bus: 'mmio', address, lengthBytes: 4, value }));
    assert.deepEqual(ring(kvm, payload, doorbells), { rings: [3, 1], exits: [`write 0x${address.toString(16)} = 3`] });
  });
}

kvmTest('two values at one port ring one eventfd each; a third leaves the guest', (kvm) => {
  const payload = new Payload().set('edx', PORT);
  for (const value of [1, 2, 1, 3]) payload.set('eax', value).out(2);
  const doorbells = [1, 2].map((value): Doorbell => ({ ...pio, value }));
  assert.deepEqual(ring(kvm, payload, doorbells), { rings: [2, 1], exits: ['out 0xe0 = 3'] });
});

kvmTest('of a value only as many bytes as the write has are compared: a longer one never rings', (kvm) => {
  using guest = new PayloadGuest(kvm, new Payload().set('eax', 1).store(MMIO, 'eax').hlt());
  using bell = EventFd.create();
  const longer = { fd: bell.fd, address: BigInt(MMIO), value: 0x1_0000_0001n, flags: DATAMATCH };
  assert.equal(ioeventfd(guest.vm.fd, longer), 'ok');
  guest.start();
  assert.deepEqual(exitsOf(guest), ['write 0xd0000800 = 1']);
  assert.equal(takeCount(bell), 0);
});

kvmTest('a port above 64 KiB is taken and never rings', (kvm) => {
  const payload = new Payload().set('edx', PORT).set('eax', 1).out(2);
  assert.deepEqual(ring(kvm, payload, [{ ...pio, address: 0x1_0000 + PORT }]), { rings: [0], exits: ['out 0xe0 = 1'] });
});

kvmTest('a read never rings: it leaves the guest', (kvm) => {
  const payload = new Payload().load('eax', MMIO).set('edx', PORT).in(2);
  assert.deepEqual(ring(kvm, payload, [mmio, pio]), { rings: [0, 0], exits: ['read 0xd0000800 = 0', 'in 0xe0 = 0'] });
});

kvmTest(
  'a read of an address of any length leaves the guest, or rings where the processor takes the fast path',
  (kvm) => {
    const result = ring(kvm, new Payload().load('eax', MMIO), [{ ...mmio, lengthBytes: 0 }]);
    const slow = { rings: [0], exits: ['read 0xd0000800 = 0'] };
    const fast = { rings: [1], exits: [] };
    assert.deepEqual(result, result.rings[0] === 0 ? slow : fast);
  },
);

kvmTest('the same number on the other bus is another address', (kvm) => {
  const payload = new Payload().set('edx', 0xe000).set('eax', 1).out(4);
  // There is memory at this address: it is no MMIO at all.
  payload.store(0xe000, 'eax');
  const doorbells: Doorbell[] = [
    { bus: 'pio', address: 0xe000, lengthBytes: 4 },
    { bus: 'mmio', address: 0xe000, lengthBytes: 4 },
  ];
  assert.deepEqual(ring(kvm, payload, doorbells), { rings: [1, 0], exits: [] });
});

kvmTest('rings that are not read add up: 5000 of them are a count of 5000', (kvm) => {
  const payload = new Payload()
    .set('ecx', 5000)
    .set('edx', PORT)
    .label('again')
    .out(2)
    .decrement('ecx')
    .jumpIfNotZero('again');
  assert.deepEqual(ring(kvm, payload, [pio]), { rings: [5000], exits: [] });
});

kvmTest('what was counted before deassign stays in the eventfd; what comes after leaves the guest', (kvm) => {
  const payload = new Payload().set('edx', PORT).set('eax', 1).out(2).out(2).hlt();
  using guest = new PayloadGuest(kvm, payload);
  using bell = EventFd.create();
  const registration = guest.vm.ioeventfds.assign(pio, bell);
  guest.start();
  assert.deepEqual(exitsOf(guest), []);
  registration[Symbol.dispose]();
  guest.start();
  assert.deepEqual(exitsOf(guest), ['out 0xe0 = 1', 'out 0xe0 = 1']);
  assert.equal(takeCount(bell), 2, 'deassign does not read the count');
});

kvmTest('an eventfd that was closed while registered goes on swallowing the guest’s writes', (kvm) => {
  using guest = new PayloadGuest(kvm, new Payload().set('edx', PORT).out(2).hlt());
  const bell = EventFd.create();
  assert.equal(ioeventfd(guest.vm.fd, { fd: bell.fd, address: BigInt(PORT), length: 2, flags: 2 }), 'ok');
  bell[Symbol.dispose]();
  guest.start();
  assert.deepEqual(exitsOf(guest), [], 'nobody can read that ring any more');
});

for (const others of [200, 1000]) {
  kvmTest(`a doorbell among ${others} others still rings, alone`, (kvm) => {
    using guest = new PayloadGuest(kvm, new Payload().set('eax', 1).store(MMIO, 'eax').hlt());
    using stray = EventFd.create();
    using bell = EventFd.create();
    for (let i = 1; i <= others; i++) guest.vm.ioeventfds.assign({ ...mmio, address: MMIO - 0x1000 * i }, stray);
    guest.vm.ioeventfds.assign(mmio, bell);
    guest.start();
    assert.deepEqual(exitsOf(guest), []);
    assert.deepEqual([takeCount(stray), takeCount(bell)], [0, 1]);
  });
}
