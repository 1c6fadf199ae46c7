// test/cli: `belfry hvisor`: check, start on the stand-in, status, and what it refuses.
import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';

/** A zones file with a disk that is there, one that is not, and a console. */
function zonesFile(t: TestContext): { readonly folder: string; readonly file: string } {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), 1 << 20);
  const device = (type: string, addr: number, irq: number, more = {}) => ({ type, addr, len: '0x200', irq, ...more });
  const devices = [
    device('blk', 0xa003c00, 78, { img: join(folder, 'disk.img') }),
    device('blk', 0xa003a00, 77, { img: join(folder, 'gone.img') }),
    device('console', 0xa003800, 76),
    device('gpu', 0xa003400, 74),
  ];
  const region = { zone0_ipa: '0x50000000', zonex_ipa: '0x50000000', size: '0x30000000' };
  const file = join(folder, 'virtio_cfg.json');
  writeFileSync(file, JSON.stringify({ zones: [{ id: 1, memory_region: [region], devices }] }, undefined, 1));
  return { folder, file };
}

test('check prints the zones, and what is skipped', async (t) => {
  const { file } = zonesFile(t);
  const { code, stdout, stderr } = await belfry(['hvisor', 'check', file]);
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /^zone 1: 768 MiB in 1 region; blk at 0xa003c00 \(irq 78\), blk .*, console at 0xa003800 \(irq 76\)\n$/,
  );
  assert.match(stderr, /virtio_cfg.json:\d+: zones\[0\].devices\[3\]: gpu is not served: skipped/);
});

test('a mistake in the file is one line with line and key, and exit code 2', async (t) => {
  const folder = testFolder(t);
  const file = join(folder, 'bad.json');
  writeFileSync(file, '{\n"zones": [\n{ "id": "one" } ] }');
  for (const command of ['check', 'start']) {
    const { code, stdout, stderr } = await belfry(['hvisor', command, file]);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^belfry: \S+bad.json:3: zones\[0\].id: a whole number is wanted, such as 78 or "0x4e"\n$/);
  }
});

test('start --fake serves: a zone reads its disk; a disk that is not there is left out; SIGTERM ends it', async (t) => {
  const { folder, file } = zonesFile(t);
  const control = join(folder, 'control');
  await using daemon = startBelfry(['hvisor', 'start', file, '--fake', '--control', control]);
  await daemon.says(/zone 1 at 0xa003c00: the first sector was read in \d+ µs, status 0/);
  await daemon.says(/zone 1 at 0xa003800: a device of type 3/);
  await daemon.complains(/zone 1 blk at 0xa003a00: \S+virtio_cfg.json:\d+: not served: .*gone.img/);
  await daemon.complains(/zone 1 console at 0xa003800: its terminal is \/dev\/pts\/\d+/);
  const status = JSON.parse((await belfry(['hvisor', 'status', '--control', control])).stdout);
  assert.deepEqual(
    status.devices.map(({ type, requests }: { type: string; requests: number }) => [type, requests]),
    [
      ['blk', 1],
      ['console', 0],
    ],
  );
  const second = await belfry(['hvisor', 'start', file, '--fake', '--control', control]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /EADDRINUSE/);
  daemon.kill('SIGTERM');
  const { code, stdout, stderr } = await daemon.ended;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /a zone that accesses a device from now on waits/);
  assert.match(stdout, /\n1 requests?, \d+ accesses, \d+ interrupts \(\d+ repeated\), \d+ late wake-ups\n$/);
});

test('without hvisor, and without a daemon, one line says so', async (t) => {
  const { folder, file } = zonesFile(t);
  const control = join(folder, 'control');
  const device = ['--device', join(folder, 'hvisor'), '--control', control];
  const started = await belfry(['hvisor', 'start', file, ...device]);
  assert.equal(started.code, 1);
  assert.match(started.stderr, /hvisor is not there: is this zone 0 of hvisor, and hvisor.ko loaded/);
  const asked = await belfry(['hvisor', 'status', '--control', control]);
  assert.deepEqual([asked.code, asked.stdout], [1, '']);
  assert.match(asked.stderr, /^belfry: --control \S+: ENOENT: no daemon runs there/);
});
