// Creating a VM while signals arrive. Tests that need /dev/kvm are in test/kvm.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SystemError } from '../sys/libc.ts';
import { createVmFd } from './kvm.ts';

test('regression: KVM_CREATE_VM is repeated when a signal interrupted it', () => {
  const made: unknown[] = [];
  const fd = createVmFd(7, (...call) => {
    made.push(call);
    if (made.length < 3) throw new SystemError('KVM_CREATE_VM', 'EINTR', 'the kernel has no room for another VM');
    return 12;
  });
  assert.equal(fd, 12);
  assert.deepEqual(made, Array(3).fill([7, 'KVM_CREATE_VM', 0, 'the kernel has no room for another VM']));
});

test('other errors are thrown', () => {
  const refuse = (): never => {
    throw new SystemError('KVM_CREATE_VM', 'ENOMEM');
  };
  assert.throws(() => createVmFd(7, refuse), { code: 'ENOMEM' });
});
