// CPUID of each vCPU: its APIC id in every leaf that has one, and the bits that KVM does not report.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CpuidEntry } from '../kvm/cpuid.ts';
import { cpuidFor } from './processor.ts';

const entry = (leaf: number, subleaf = 0, values: Partial<CpuidEntry> = {}): CpuidEntry => ({
  ...{ leaf, subleaf, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 },
  ...values,
});

const SUPPORTED = [
  entry(0, 0, { eax: 0xd, ebx: 1, ecx: 2, edx: 3 }),
  entry(1, 0, { ebx: 0xff00_0800, edx: 0x1000_0001 }),
  entry(4, 3, { eax: 0xffff_c163 }),
  entry(4, 4),
  entry(0xb, 0, { edx: 77 }),
  entry(0xb, 1, { edx: 77 }),
  entry(0x8000_0008, 0, { ecx: 0x7007 }),
  entry(0x8000_001e, 0, { eax: 77 }),
];

const find = (entries: readonly CpuidEntry[], leaf: number, subleaf = 0): CpuidEntry =>
  entries.find((one) => one.leaf === leaf && one.subleaf === subleaf) ?? assert.fail(`no leaf ${leaf}.${subleaf}`);

test('each vCPU has its APIC id in leaf 1, in every level of leaf 0xb, and where AMD has it', () => {
  for (let index = 0; index < 3; index++) {
    const entries = cpuidFor(SUPPORTED, { index, cpus: 3, hasTscDeadline: false });
    assert.equal(find(entries, 1).ebx, (index * 2 ** 24 + 0x3_0800) >>> 0);
    assert.deepEqual(
      [0, 1, 2].map((level) => find(entries, 0xb, level).edx),
      [index, index, index],
    );
    assert.equal(find(entries, 0x8000_001e).eax, index);
  }
});

test('three processors are three cores, with APIC ids of two bits', () => {
  const entries = cpuidFor(SUPPORTED, { index: 1, cpus: 3, hasTscDeadline: false });
  const levels = [0, 1, 2].map((level) => find(entries, 0xb, level)).map(({ eax, ebx, ecx }) => [eax, ebx, ecx]);
  assert.deepEqual(levels, [
    [0, 1, 0x100],
    [2, 3, 0x201],
    [0, 0, 2],
  ]);
  assert.equal(find(entries, 0x8000_0008).ecx, 0x2002);
  assert.equal(find(entries, 4, 3).eax, ((3 << 26) | (3 << 14) | 0x163) >>> 0);
  assert.equal(find(entries, 4, 4).eax, 0, 'no cache at all stays none');
});

test('a single processor does not have the multithreading bit', () => {
  const alone = cpuidFor(SUPPORTED, { index: 0, cpus: 1, hasTscDeadline: false });
  assert.equal(find(alone, 1).edx & (1 << 28), 0);
  const two = cpuidFor(SUPPORTED, { index: 0, cpus: 2, hasTscDeadline: false });
  assert.notEqual(find(two, 1).edx & (1 << 28), 0);
});

test('the hypervisor bit is set, and the TSC deadline timer where there is one', () => {
  const bits = (hasTscDeadline: boolean): number =>
    find(cpuidFor(SUPPORTED, { index: 0, cpus: 1, hasTscDeadline }), 1).ecx;
  assert.deepEqual([bits(false), bits(true)], [0x8000_0000, 0x8100_0000]);
});

test('other leaves stay as KVM reported them, and the argument is not changed', () => {
  const before = structuredClone(SUPPORTED);
  const entries = cpuidFor(SUPPORTED, { index: 2, cpus: 4, hasTscDeadline: true });
  assert.deepEqual(find(entries, 0), SUPPORTED[0]);
  assert.deepEqual(SUPPORTED, before);
});
