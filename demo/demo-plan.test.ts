// demo: the checks of a disk, by its size and by whether it may be written.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planFor } from './demo-plan.ts';

const MIB = 2 ** 20;
const writable = (mib: number) => ({ sizeBytes: mib * MIB, readOnly: false });

test('the amount of data is the default of the guest, that of --data, or what the disk can hold', () => {
  assert.equal(planFor(writable(512), undefined, 16).dataMiB, 16);
  assert.equal(planFor(writable(512), 64, 16).dataMiB, 64);
  assert.equal(planFor(writable(30), undefined, 16).dataMiB, 6);
});

test('a tiny disk is written whole, and what that leaves out is listed', () => {
  for (const sizeBytes of [512, 23 * MIB]) {
    const { scenario, unchecked } = planFor({ sizeBytes, readOnly: false }, undefined, 16);
    assert.equal(scenario, 'write-all');
    assert.match(unchecked.join('\n'), /^a partition and a file system: .* smaller than 24 MiB$/);
  }
  assert.deepEqual(planFor(writable(24), undefined, 16).unchecked, []);
});

test('a disk that is read-only is read, up to a limit, and what that leaves out is listed', () => {
  const small = planFor({ sizeBytes: 512, readOnly: true }, undefined, 16);
  assert.deepEqual([small.scenario, small.unchecked.length], ['read-all', 1]);
  const large = planFor({ sizeBytes: 2000 * MIB, readOnly: true }, undefined, 16);
  assert.match(large.unchecked.join('\n'), /writing, .*\nwhat is after the first 1024 MiB: --data MiB reads more$/);
  assert.equal(planFor({ sizeBytes: 2000 * MIB, readOnly: true }, 2000, 16).unchecked.length, 1);
});
