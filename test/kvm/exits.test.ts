// Every exit a payload can provoke, decoded in place, and the answers it reads back, against the real kernel.
import assert from 'node:assert/strict';
import {
  KVM_EXIT_HLT,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_IO,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
} from '../../src/kvm/constants.ts';
import type { Kvm } from '../../src/kvm/kvm.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { kvmTest } from './kvm-case.ts';

const PORT = 0x3f8;
const MMIO = 0x2000_0800;
const RESULT = 0x3000;

function guestOf(kvm: Kvm, payload: Payload): PayloadGuest {
  const guest = new PayloadGuest(kvm, payload);
  guest.start();
  return guest;
}

kvmTest('out of 1, 2 and 4 bytes: port, size and operand are in the run page', (kvm) => {
  const payload = new Payload().set('edx', PORT).set('eax', 0x8765_4321).out(1).out(2).out(4).hlt();
  using guest = guestOf(kvm, payload);
  const { io } = guest.vcpu.exits;
  for (const [sizeBytes, value] of [
    [1, 0x21],
    [2, 0x4321],
    [4, 0x8765_4321],
  ]) {
    assert.equal(guest.vcpu.run(), KVM_EXIT_IO);
    assert.deepEqual([io.isOut, io.port, io.sizeBytes, io.count, io.value], [true, PORT, sizeBytes, 1, value]);
  }
  assert.equal(guest.vcpu.run(), KVM_EXIT_HLT);
  assert.equal(guest.vcpu.exits.describe(), 'the guest halted');
});

kvmTest('in of 1, 2 and 4 bytes reads what is put into the run page', (kvm) => {
  const payload = new Payload().set('edx', PORT);
  for (const sizeBytes of [1, 2, 4] as const)
    payload
      .set('eax', 0)
      .in(sizeBytes)
      .store(RESULT + 4 * sizeBytes, 'eax');
  using guest = guestOf(kvm, payload.hlt());
  const { io } = guest.vcpu.exits;
  while (guest.vcpu.run() === KVM_EXIT_IO) {
    assert.equal(io.isOut, false);
    io.value = 0x1234_5678;
  }
  const result = (sizeBytes: number) => guest.words[RESULT / 4 + sizeBytes];
  assert.deepEqual([result(1), result(2), result(4)], [0x78, 0x5678, 0x1234_5678]);
});

kvmTest('a string of bytes arrives operand by operand or at once, whole and in order', (kvm) => {
  const text = 'ring the bell';
  const payload = new Payload().set('edx', PORT).set('esi', RESULT).set('ecx', text.length).outString().hlt();
  using guest = guestOf(kvm, payload);
  guest.memory.bytes.set(new TextEncoder().encode(text), RESULT);
  const { io, bytes } = guest.vcpu.exits;
  let said = '';
  while (guest.vcpu.run() === KVM_EXIT_IO)
    said += new TextDecoder().decode(bytes.subarray(io.offset, io.offset + io.count));
  assert.equal(said, text);
});

kvmTest('writes and reads of 1, 2, 4 and 8 bytes where there is no memory', (kvm) => {
  const payload = new Payload('long').set('eax', 0x8765_4321);
  for (const sizeBytes of [1, 2, 4, 8] as const) {
    payload.store(MMIO + 8 * sizeBytes, 'eax', sizeBytes);
    payload
      .set('ecx', 0)
      .load('ecx', MMIO, sizeBytes)
      .store(RESULT + 8 * sizeBytes, 'ecx', 8);
  }
  using guest = guestOf(kvm, payload.hlt());
  const { mmio } = guest.vcpu.exits;
  for (const [sizeBytes = 0, value] of [
    [1, 0x21],
    [2, 0x4321],
    [4, 0x8765_4321],
    [8, 0x8765_4321],
  ]) {
    assert.equal(guest.vcpu.run(), KVM_EXIT_MMIO);
    const expected = [true, MMIO + 8 * sizeBytes, sizeBytes, value];
    assert.deepEqual([mmio.isWrite, mmio.address, mmio.sizeBytes, mmio.value], expected);
    assert.equal(guest.vcpu.run(), KVM_EXIT_MMIO);
    assert.deepEqual([mmio.isWrite, mmio.address, mmio.sizeBytes], [false, MMIO, sizeBytes]);
    if (sizeBytes === 8) mmio.wideValue = 0x0123_4567_89ab_cdefn;
    else mmio.value = 0x89ab_cdef;
  }
  assert.equal(guest.vcpu.run(), KVM_EXIT_HLT);
  const results = new BigUint64Array(guest.memory.bytes.buffer, RESULT, 9);
  assert.deepEqual(
    [results[1], results[2], results[4], results[8]],
    [0xefn, 0xcdefn, 0x89ab_cdefn, 0x0123_4567_89ab_cdefn],
  );
});

kvmTest('a narrow answer to a read of 8 bytes has a high half of zero', (kvm) => {
  using guest = guestOf(kvm, new Payload('long').load('eax', MMIO, 8).store(RESULT, 'eax', 8).hlt());
  const { mmio } = guest.vcpu.exits;
  guest.vcpu.run();
  mmio.wideValue = -1n;
  mmio.value = 7;
  guest.vcpu.run();
  assert.equal(new BigUint64Array(guest.memory.bytes.buffer, RESULT, 1)[0], 7n);
});

kvmTest('a triple fault is a shutdown', (kvm) => {
  using guest = guestOf(kvm, new Payload('long').undefinedInstruction());
  assert.equal(guest.vcpu.run(), KVM_EXIT_SHUTDOWN);
  assert.match(guest.vcpu.exits.describe(), /triple fault/);
});

kvmTest('instructions from where there is no memory are an internal error, in words', (kvm) => {
  using guest = guestOf(kvm, new Payload('long').raw(0xb8, 0, 0, 0, 0x20, 0xff, 0xe0));
  assert.equal(guest.vcpu.run(), KVM_EXIT_INTERNAL_ERROR);
  assert.match(guest.vcpu.exits.describe(), /^KVM could not emulate|^KVM internal error/);
});
