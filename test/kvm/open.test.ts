// test/kvm: /dev/kvm, and the ways in which it can be missing: each is one line that says what to do.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Kvm } from '../../src/kvm/kvm.ts';
import { patience } from '../../src/testing/patience.ts';
import { kvmTest } from './kvm-case.ts';

test('no /dev/kvm: load the module, or enable virtualization', () => {
  assert.throws(() => Kvm.open('/dev/there-is-no-such-kvm'), {
    code: 'ENOENT',
    message: /^open: ENOENT: \/dev\/there-is-no-such-kvm is not there: load the module .*virtualization.*$/,
  });
});

test('a device that is not KVM is said to be none', () => {
  assert.throws(() => Kvm.open('/dev/null'), { code: 'ENOTTY', message: /\/dev\/null is not KVM/ });
});

test('no right to it: join its group', (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can give up its rights');
  // Opened here so that the import below needs no rights to this checkout.
  const program = `
    const { Kvm } = await import(${JSON.stringify(new URL('../../src/kvm/kvm.ts', import.meta.url).href)});
    process.setgid(65534); process.setgroups([]); process.setuid(65534);
    try { Kvm.open(${JSON.stringify('/proc/1/mem')}); } catch (error) { console.log(error.message); }
  `;
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program];
  const { stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: patience(20_000) });
  assert.match(stdout, /^open: EACCES: \/proc\/1\/mem may not be opened: .*usermod -aG kvm.*\n$/, stderr);
});

kvmTest('the API is version 12 and has what this room needs', (kvm) => {
  for (const name of ['KVM_CAP_USER_MEMORY', 'KVM_CAP_IRQCHIP', 'KVM_CAP_IOEVENTFD', 'KVM_CAP_IRQFD'] as const) {
    assert.ok(kvm.capability(name) > 0, name);
  }
  assert.ok(kvm.capability('KVM_CAP_IMMEDIATE_EXIT') > 0);
});

kvmTest('a VM answers for itself, and outlives what it was made from', () => {
  const kvm = Kvm.open();
  using vm = kvm.createVm();
  kvm[Symbol.dispose]();
  assert.ok(vm.capability('KVM_CAP_NR_MEMSLOTS') > 1);
  vm.createVcpu(0)[Symbol.dispose]();
});
