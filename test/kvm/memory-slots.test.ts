// test/kvm: guest memory on the real kernel: shared mappings, overlaps, dirty pages.
import assert from 'node:assert/strict';
import type { Kvm } from '../../src/kvm/kvm.ts';
import type { SlotOptions } from '../../src/kvm/memory-slots.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { kvmTest, refusal } from './kvm-case.ts';
import { exitsOf } from './run-guest.ts';

const MIB = 1 << 20;
const PAGE = 4096;

/** A guest with `sizeBytes` more memory at 1 MiB; the payload runs when `run` is called. */
function withSlot(kvm: Kvm, payload: Payload, options: Partial<SlotOptions> = {}) {
  const stack = new DisposableStack();
  const guest = stack.use(new PayloadGuest(kvm, payload.hlt()));
  const fd = createMemfd('slot', 16 * PAGE);
  stack.defer(() => closeFd(fd));
  const slot = stack.use(guest.vm.memory.add({ guestAddress: MIB, sizeBytes: 16 * PAGE, fd, ...options }));
  const run = (): string[] => {
    guest.start();
    return exitsOf(guest);
  };
  return { guest, slot, fd, run, [Symbol.dispose]: () => stack.dispose() };
}

kvmTest('a mapping of the memfd shows what the guest writes, and the guest reads what is written there', (kvm) => {
  const payload = new Payload().load('eax', MIB).store(MIB + 3 * PAGE, 'eax');
  using test = withSlot(kvm, payload);
  using elsewhere = Mapping.ofFile(test.fd, 16 * PAGE);
  elsewhere.bytes.set([1, 2, 3, 4]);
  assert.deepEqual(test.run(), []);
  assert.deepEqual([...elsewhere.bytes.subarray(3 * PAGE, 3 * PAGE + 4)], [1, 2, 3, 4]);
  assert.deepEqual([...test.slot.bytes.subarray(3 * PAGE, 3 * PAGE + 4)], [1, 2, 3, 4]);
});

kvmTest('a slot may begin anywhere in its file', (kvm) => {
  using test = withSlot(kvm, new Payload().load('eax', MIB).store(0x2000, 'eax'), {
    fileOffset: 2 * PAGE,
    sizeBytes: PAGE,
  });
  using file = Mapping.ofFile(test.fd, 16 * PAGE);
  file.bytes.fill(7, 2 * PAGE, 3 * PAGE);
  assert.deepEqual(test.run(), []);
  assert.equal(test.guest.words[0x800], 0x0707_0707);
});

kvmTest('memory that overlaps is EEXIST, and the message says with what', (kvm) => {
  using test = withSlot(kvm, new Payload());
  const { memory } = test.guest.vm;
  const add = (guestAddress: number, pages: number) =>
    memory.add({ guestAddress, sizeBytes: pages * PAGE, fd: test.fd })[Symbol.dispose]();
  const message =
    'KVM_SET_USER_MEMORY_REGION: EEXIST: guest memory 0x10f000..0x111000 overlaps slot 1, 0x100000..0x110000: ';
  assert.throws(() => add(MIB + 15 * PAGE, 2), {
    code: 'EEXIST',
    message: `${message}move one, or remove the other first`,
  });
  assert.throws(() => add(MIB - PAGE, 2), /overlaps slot 0/);
  assert.throws(() => add(MIB, 1), /overlaps slot 1/);
  add(MIB + 16 * PAGE, 2);
  add(MIB + 16 * PAGE, 2);
});

kvmTest('what is no multiple of the page size is EINVAL', (kvm) => {
  using test = withSlot(kvm, new Payload());
  const add = (guestAddress: number, sizeBytes: number) =>
    test.guest.vm.memory.add({ guestAddress, sizeBytes, fd: test.fd });
  assert.throws(() => add(4 * MIB + 512, PAGE), /EINVAL: .*0x400200\.\.0x401200: .*multiples of 4096/);
  assert.throws(() => add(4 * MIB, PAGE + 512), { code: 'EINVAL' });
  assert.equal(test.guest.vm.memory.all.length, 2, 'what was refused is not remembered');
});

kvmTest(
  'once disposed it is no memory any more: the guest’s access leaves the guest, and its number is free',
  (kvm) => {
    using test = withSlot(kvm, new Payload().set('eax', 9).store(MIB + 8, 'eax'));
    assert.deepEqual(test.run(), []);
    test.slot[Symbol.dispose]();
    test.slot[Symbol.dispose]();
    assert.deepEqual(test.run(), ['write 0x100008 = 9']);
    assert.equal(test.slot.bytes.length, 0, 'no view of it is left');
    using again = test.guest.vm.memory.add({ guestAddress: MIB, sizeBytes: PAGE, fd: test.fd });
    assert.equal(again.index, 1);
    assert.deepEqual(test.run(), []);
  },
);

kvmTest('a read-only slot can be read; a write leaves the guest and changes nothing', (kvm) => {
  using test = withSlot(kvm, new Payload().load('eax', MIB).store(MIB + 4, 'eax'), { readOnly: true });
  test.slot.bytes.set([5, 0, 0, 0, 6]);
  assert.deepEqual(test.run(), ['write 0x100004 = 5']);
  assert.equal(test.slot.bytes[4], 6);
});

kvmTest('the dirty log names the pages the guest wrote to, once', (kvm) => {
  const READ_PAGE = 5;
  const payload = new Payload()
    .store(MIB, 'eax')
    .store(MIB + 3 * PAGE + 8, 'eax')
    .load('eax', MIB + READ_PAGE * PAGE);
  using test = withSlot(kvm, payload.store(MIB + 9 * PAGE - 2, 'eax'), { logDirty: true });
  const dirty = (): number[] => {
    const bits = test.slot.dirtyPages();
    // Where the processor walks the tables itself, KVM maps a page that is read first as writable, and so as written.
    return Array.from({ length: 16 }, (_, page) => page).filter(
      (page) => page !== READ_PAGE && ((bits[page >> 3] as number) >> (page & 7)) & 1,
    );
  };
  dirty();
  test.run();
  assert.deepEqual(dirty(), [0, 3, 8, 9]);
  assert.deepEqual(dirty(), []);
  test.slot.bytes[7 * PAGE] = 1;
  assert.deepEqual(dirty(), [], 'what we write ourselves is ours to know');
  test.run();
  assert.deepEqual(dirty(), [0, 3, 8, 9]);
});

kvmTest('the dirty log is switched on and off while the memory is in use; off, it is ENOENT', (kvm) => {
  using test = withSlot(kvm, new Payload().store(MIB + PAGE, 'eax'));
  assert.throws(() => test.slot.dirtyPages(), /ENOENT: slot 1 records nothing: ask for logDirty first/);
  test.slot.logDirty(true);
  test.slot.dirtyPages();
  test.run();
  assert.equal(test.slot.dirtyPages()[0], 0b10);
  test.slot.logDirty(false);
  assert.equal(
    refusal(() => test.slot.dirtyPages()),
    'ENOENT',
  );
});
