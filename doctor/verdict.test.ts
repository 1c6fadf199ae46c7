// doctor: the verdict on each command follows from what was found.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { State } from './finding.ts';
import { verdictOn } from './verdict.ts';

const GOOD = {
  Node: 'ok',
  memfd: 'ok',
  kvm: 'ok',
  'user-mode-linux': 'ok',
  qemu: 'ok',
} as const;

/** The verdicts on a machine that differs from one that has everything. */
function verdicts(changes: Partial<Record<keyof typeof GOOD, State>>, kvmFound = '/dev/kvm, by vmx') {
  const findings = Object.entries({ ...GOOD, ...changes }).map(([name, state]) => {
    const found = name === 'kvm' ? kvmFound : `${name} found`;
    return { name, state, found, goodFor: '', advice: '' };
  });
  const all = verdictOn([{ title: 'all', findings }]);
  return Object.fromEntries(all.map(({ command, can, why }) => [command, `${can ? 'yes' : 'no'}: ${why}`]));
}

test('a machine that has everything can do everything', () => {
  assert.deepEqual(verdicts({}), {
    demo: 'yes: with User-Mode Linux or QEMU',
    shell: 'yes: with User-Mode Linux or QEMU',
    serve: 'yes: ',
    bench: 'yes: ',
    run: 'yes: ',
    doorbell: 'yes: ',
  });
});

test('without kvm there is no machine of our own, and the reason is what was found', () => {
  const { run, doorbell, demo } = verdicts({ kvm: 'absent' }, 'no /dev/kvm, no vmx or svm');
  assert.deepEqual([run, doorbell], Array(2).fill('no: no /dev/kvm, no vmx or svm'));
  assert.match(demo as string, /^yes/);
});

test('on a software kvm a stock Linux may not boot, and doorbells can be measured', () => {
  const { run, doorbell } = verdicts({}, '/dev/kvm, a software implementation (kvm_pvm, no vmx or svm)');
  assert.match(run as string, /^no: a stock Linux may not boot/);
  assert.match(doorbell as string, /^yes: .*software/);
});

test('without a guest there is a demo, and no shell', () => {
  const { demo, shell } = verdicts({ 'user-mode-linux': 'broken', qemu: 'absent' });
  assert.match(demo as string, /^yes: with our own driver side/);
  assert.match(shell as string, /^no: neither/);
  assert.match(verdicts({ 'user-mode-linux': 'broken' }).shell as string, /^yes: with QEMU$/);
});

test('without memory that can be shared nothing can be served, without the right Node nothing at all', () => {
  assert.match(verdicts({ memfd: 'broken' }).serve as string, /^no: no memory to share: memfd found$/);
  for (const verdict of Object.values(verdicts({ Node: 'broken' }))) assert.match(verdict, /^no: this Node/);
});
