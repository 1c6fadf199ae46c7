// doctor: a KVM in software is distinguished from one with virtualization extensions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { softwareKvm } from './kvm.ts';

const cpuinfo = (flags: string): string => `processor\t: 0\nflags\t\t: fpu ${flags}\nbugs\t\t: none\n`;

for (const [name, facts, software] of [
  ['Intel', { arch: 'x64', cpuinfo: cpuinfo('vmx sse'), hasPvm: false }, undefined],
  ['AMD, the last flag', { arch: 'x64', cpuinfo: cpuinfo('sse svm'), hasPvm: false }, undefined],
  ['arm64', { arch: 'arm64', cpuinfo: 'Features\t: fp asimd\n', hasPvm: false }, undefined],
  [
    'a flag that only resembles',
    { arch: 'x64', cpuinfo: cpuinfo('vmxnet svm_lock'), hasPvm: false },
    /^a software .*\(no vmx/,
  ],
  ['kvm_pvm', { arch: 'x64', cpuinfo: cpuinfo('sse'), hasPvm: true }, /\(kvm_pvm, no vmx or svm\)$/],
] as const) {
  test(`${name}: ${software === undefined ? 'hardware' : 'software'}`, () => {
    if (software === undefined) assert.equal(softwareKvm(facts), undefined);
    else assert.match(softwareKvm(facts) ?? '', software);
  });
}
