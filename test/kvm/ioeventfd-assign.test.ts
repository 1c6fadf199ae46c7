// Every rule by which KVM takes or refuses an ioeventfd, against the real kernel; and what our errors make of it.
import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { ioctlWithStruct, zeroedStruct } from '../../src/kvm/ioctl.ts';
import { collides, type Doorbell } from '../../src/kvm/ioeventfd.ts';
import { F_DUPFD_CLOEXEC } from '../../src/sys/constants.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd, libc } from '../../src/sys/libc.ts';
import { every } from '../../src/testing/every.ts';
import { DATAMATCH, DEASSIGN, ioeventfd, kvmTest, PIO, refusal } from './kvm-case.ts';

kvmTest('a length other than 0, 1, 2, 4 and 8 is EINVAL', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  for (const length of [0, 1, 2, 4, 8]) {
    assert.equal(ioeventfd(vm.fd, { fd: bell.fd, length, address: BigInt(0x100 * length) }), 'ok');
  }
  for (const length of [3, 5, 16, 0xffff_ffff]) assert.equal(ioeventfd(vm.fd, { fd: bell.fd, length }), 'EINVAL');
});

kvmTest('an address whose end wraps around is EINVAL, even when it wraps to exactly 0', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, address: 0xffff_ffff_ffff_fffen }), 'EINVAL');
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, address: 0xffff_ffff_ffff_fffcn }), 'EINVAL');
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, address: 0xffff_ffff_ffff_fff8n }), 'ok');
});

kvmTest('an undefined flag is EINVAL; the kernel-internal one, 1 << 4, is taken and ignored or refused', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  for (const flags of [0x20, 0x8000_0000]) assert.equal(ioeventfd(vm.fd, { fd: bell.fd, flags }), 'EINVAL');
  assert.match(ioeventfd(vm.fd, { fd: bell.fd, flags: 0x10 }), /^(ok|EINVAL)$/);
});

kvmTest('any length with a value is EINVAL', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, length: 0, flags: DATAMATCH }), 'EINVAL');
  assert.throws(() => vm.ioeventfds.assign({ bus: 'mmio', address: 0, lengthBytes: 0, value: 1 }, bell), RangeError);
});

kvmTest('any length on the port bus needs KVM_CAP_IOEVENTFD_ANY_LENGTH', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  const expected = kvm.capability('KVM_CAP_IOEVENTFD_ANY_LENGTH') > 0 ? 'ok' : 'EINVAL';
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, length: 0, flags: PIO }), expected);
});

kvmTest('a descriptor that is not open is EBADF, one that is no eventfd is EINVAL', (kvm) => {
  using vm = kvm.createVm();
  const file = openSync('/dev/null', 'r');
  assert.equal(ioeventfd(vm.fd, { fd: 9999 }), 'EBADF');
  assert.equal(ioeventfd(vm.fd, { fd: file }), 'EINVAL');
  const doorbell: Doorbell = { bus: 'mmio', address: 0xd000, lengthBytes: 4 };
  assert.throws(() => vm.ioeventfds.assign(doorbell, EventFd.borrow(file)), /EINVAL: .*must be an eventfd/);
  closeFd(file);
});

kvmTest('neither alignment nor the size of the port space is checked', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, address: 0xd001n }), 'ok');
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, address: 0x1_0000n, flags: PIO }), 'ok');
});

// Each row: what is there, what comes, what the kernel says. All at one address; the eventfds differ.
const wildcard = { length: 4 };
const one = { length: 4, value: 1n, flags: DATAMATCH };
const collisions = [
  ['an identical one', wildcard, wildcard, 'EEXIST'],
  ['a value where any value rings', wildcard, one, 'EEXIST'],
  ['any value where a value rings', one, wildcard, 'EEXIST'],
  ['another value', one, { ...one, value: 2n }, 'ok'],
  ['the same value', one, one, 'EEXIST'],
  ['the same value in another length', one, { ...one, length: 2 }, 'ok'],
  ['any value in another length', wildcard, { length: 2 }, 'ok'],
  ['any length where a length rings', wildcard, { length: 0 }, 'EEXIST'],
  ['any length where a value rings', one, { length: 0 }, 'EEXIST'],
  ['a length where any length rings', { length: 0 }, { length: 2 }, 'EEXIST'],
  ['a value where any length rings', { length: 0 }, one, 'EEXIST'],
  ['a value too long for its length', one, { ...one, value: 0x1_0000_0001n }, 'ok'],
  ['the other bus', wildcard, { length: 4, flags: PIO }, 'ok'],
] as const;

for (const [what, there, comes, expected] of collisions) {
  kvmTest(`at one address, ${what} is ${expected}`, (kvm) => {
    using vm = kvm.createVm();
    using first = EventFd.create();
    using second = EventFd.create();
    assert.equal(ioeventfd(vm.fd, { fd: first.fd, ...there }), 'ok');
    assert.equal(ioeventfd(vm.fd, { fd: second.fd, ...comes }), expected);
    assert.equal(ioeventfd(vm.fd, { fd: first.fd, address: 0xe000n, ...comes }), 'ok', 'at another address');
  });
}

kvmTest('our rule of what collides is the kernel’s, for every pair of doorbells at one address', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  for (const choose of every()) {
    const pick = (): Doorbell => {
      const place = { bus: choose.of(['mmio', 'pio'] as const), address: 0xd000 };
      const lengthBytes = choose.of([0, 2, 4] as const);
      const value = lengthBytes === 0 ? undefined : choose.of([undefined, 1, 2]);
      return { ...place, lengthBytes, ...(value === undefined ? {} : { value }) };
    };
    const [a, b] = [pick(), pick()];
    using _first = vm.ioeventfds.assign(a, bell);
    const said = refusal(() => vm.ioeventfds.assign(b, bell)[Symbol.dispose]());
    assert.equal(said, collides(a, b) ? 'EEXIST' : 'ok', JSON.stringify([a, b]));
  }
});

kvmTest('EEXIST names the doorbell that collides', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  const doorbell: Doorbell = { bus: 'mmio', address: 0xd000_0050, lengthBytes: 4 };
  using _one = vm.ioeventfds.assign({ ...doorbell, value: 1 }, bell);
  using _two = vm.ioeventfds.assign({ ...doorbell, value: 2 }, bell);
  assert.throws(() => vm.ioeventfds.assign({ ...doorbell, value: 2 }, bell), {
    code: 'EEXIST',
    message:
      'KVM_IOEVENTFD: EEXIST: (mmio 0xd0000050, 4 bytes, value 2) collides with (mmio 0xd0000050, 4 bytes, value 2): ' +
      'give each a value, or an address of its own',
  });
  assert.throws(() => vm.ioeventfds.assign({ ...doorbell, lengthBytes: 0 }, bell), /collides with \(.*value 1\)/);
});

kvmTest('EEXIST says so where the other one was not registered here', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd, address: 0xd000n }), 'ok');
  const call = () => vm.ioeventfds.assign({ bus: 'mmio', address: 0xd000, lengthBytes: 4 }, bell);
  assert.throws(call, /EEXIST.*collides with a device that was not registered here/);
});

kvmTest(
  'a value that no write of its length can have is refused here: the kernel would take it and never ring',
  (kvm) => {
    using vm = kvm.createVm();
    using bell = EventFd.create();
    const assign = (lengthBytes: 1 | 2 | 4 | 8, value: number | bigint): string =>
      refusal(() => {
        try {
          vm.ioeventfds.assign({ bus: 'mmio', address: 0xd000, lengthBytes, value }, bell)[Symbol.dispose]();
        } catch (error) {
          throw error instanceof RangeError ? Object.assign(error, { code: 'RangeError' }) : error;
        }
      });
    assert.deepEqual([assign(1, 0xff), assign(1, 0x100)], ['ok', 'RangeError']);
    assert.deepEqual([assign(4, 0xffff_ffff), assign(4, 0x1_0000_0000)], ['ok', 'RangeError']);
    assert.deepEqual([assign(8, 0xffff_ffff_ffff_ffffn), assign(8, -1n)], ['ok', 'RangeError']);
  },
);

kvmTest('one eventfd may be registered for 3000 values at one address', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  for (let value = 0; value < 3000; value++) {
    vm.ioeventfds.assign({ bus: 'mmio', address: 0xd000, lengthBytes: 4, value }, bell);
  }
});

kvmTest('1000 other devices fill the bus: then doorbells are ENOSPC too, where the kernel counts so', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  const addZone = (i: number): void => {
    const zone = zeroedStruct(16);
    zone.setBigUint64(0, BigInt(0x1000_0000 + 0x1000 * i), true);
    zone.setUint32(8, 0x1000, true);
    ioctlWithStruct(vm.fd, 'KVM_REGISTER_COALESCED_MMIO');
  };
  let zones = 0;
  while (zones < 2000 && refusal(() => addZone(zones)) === 'ok') zones++;
  assert.ok(zones >= 100 && zones < 2000, `${zones} zones`);
  assert.equal(
    refusal(() => addZone(zones)),
    'ENOSPC',
  );
  assert.throws(() => vm.ioeventfds.assign({ bus: 'mmio', address: 0xd000, lengthBytes: 4 }, bell), /ENOSPC.*is full/);
  const onPorts = () => vm.ioeventfds.assign({ bus: 'pio', address: 0xd000, lengthBytes: 4 }, bell);
  assert.equal(refusal(onPorts), 'ok', 'the port bus is another one');
});

kvmTest('deassign must name bus, eventfd, address, length and value as they were: anything else is ENOENT', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  using other = EventFd.create();
  const assigned = { fd: bell.fd, value: 1n, flags: DATAMATCH };
  assert.equal(ioeventfd(vm.fd, assigned), 'ok');
  const wrong = [
    { ...assigned, fd: other.fd },
    { ...assigned, address: 0xd004n },
    { ...assigned, length: 2 },
    { ...assigned, length: 3 },
    { ...assigned, value: 2n },
    { ...assigned, flags: 0 },
    { ...assigned, flags: DATAMATCH | PIO },
  ];
  for (const one of wrong) {
    assert.equal(ioeventfd(vm.fd, { ...one, flags: one.flags | DEASSIGN }), 'ENOENT', `flags ${one.flags}`);
  }
  assert.equal(ioeventfd(vm.fd, { ...assigned, fd: 9999, flags: DATAMATCH | DEASSIGN }), 'EBADF');
  assert.equal(ioeventfd(vm.fd, { ...assigned, flags: DATAMATCH | DEASSIGN }), 'ok');
  assert.equal(ioeventfd(vm.fd, { ...assigned, flags: DATAMATCH | DEASSIGN }), 'ENOENT', 'a second time');
});

kvmTest('deassign takes a duplicate of the descriptor: what counts is the eventfd behind it', (kvm) => {
  using vm = kvm.createVm();
  using bell = EventFd.create();
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd }), 'ok');
  const duplicate = libc.fcntl(bell.fd, F_DUPFD_CLOEXEC, 0);
  assert.equal(ioeventfd(vm.fd, { fd: duplicate, flags: DEASSIGN }), 'ok');
  closeFd(duplicate);
});

kvmTest('closing the eventfd does not deassign: the address stays taken', (kvm) => {
  using vm = kvm.createVm();
  const bell = EventFd.create();
  assert.equal(ioeventfd(vm.fd, { fd: bell.fd }), 'ok');
  bell[Symbol.dispose]();
  using other = EventFd.create();
  assert.equal(ioeventfd(vm.fd, { fd: other.fd }), 'EEXIST');
  assert.equal(ioeventfd(vm.fd, { fd: other.fd, flags: DEASSIGN }), 'ENOENT', 'and nobody can give it back');
});

kvmTest('a registration is removed although its eventfd was closed first', (kvm) => {
  using vm = kvm.createVm();
  const bell = EventFd.create();
  const doorbell: Doorbell = { bus: 'mmio', address: 0xd000, lengthBytes: 4 };
  const registration = vm.ioeventfds.assign(doorbell, bell);
  bell[Symbol.dispose]();
  using other = EventFd.create();
  assert.equal(
    refusal(() => vm.ioeventfds.assign(doorbell, other)),
    'EEXIST',
  );
  registration[Symbol.dispose]();
  registration[Symbol.dispose]();
  vm.ioeventfds.assign(doorbell, other)[Symbol.dispose]();
});

kvmTest('disposing the VM gives every registration back', (kvm) => {
  const vm = kvm.createVm();
  using bell = EventFd.create();
  const registration = vm.ioeventfds.assign({ bus: 'pio', address: 0xe0, lengthBytes: 1 }, bell);
  vm[Symbol.dispose]();
  registration[Symbol.dispose]();
});
