// guests: the generated script, as far as it can be checked without booting it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { Scenario, ScenarioName } from './scenario.ts';
import { diskName, scenarioScript } from './scenario.ts';

const NAMES: readonly ScenarioName[] = ['format-write-verify', 'verify-only', 'read-only', 'write-all', 'read-all'];

function script(changes: Partial<Scenario>): string {
  return scenarioScript({ name: 'format-write-verify', disks: 1, partition: true, dataMiB: 16, ...changes }, [
    'virtio_blk',
  ]);
}

for (const name of NAMES) {
  test(`the script of ${name} is well-formed shell`, () => {
    execFileSync('sh', ['-n'], { input: script({ name, disks: 2 }) });
  });
}

test('modules are loaded before the first disk is looked for', () => {
  const text = script({});
  const insmod = text.indexOf('insmod /modules/virtio_blk.ko');
  assert.ok(insmod > 0 && insmod < text.indexOf('step appears'));
});

test('every disk gets every step', () => {
  const text = script({ disks: 3 });
  for (const disk of ['vda', 'vdb', 'vdc']) assert.match(text, new RegExp(`^disk=${disk}$`, 'm'));
  assert.equal(text.match(/^step fsck /gm)?.length, 3);
});

test('only a partitioned disk is partitioned', () => {
  assert.match(script({ partition: true }), /^step partition /m);
  assert.doesNotMatch(script({ partition: false }), /^step partition /m);
});

test('verify-only and read-only make no file system', () => {
  for (const name of ['verify-only', 'read-only', 'write-all', 'read-all'] as const)
    assert.doesNotMatch(script({ name }), /^step mkfs /m);
});

test('disks are named as Linux names them', () => {
  assert.deepEqual([0, 1, 25].map(diskName), ['vda', 'vdb', 'vdz']);
});
