// test/cli: `belfry up`: several devices in one process, its file, and what is published for it in contrib/.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configJsonSchema } from '../../src/daemon/config/config-schema.ts';
import { ControlClient } from '../../src/daemon/control/control-client.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, patience } from '../../src/testing/patience.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { readMetrics } from '../reference/openmetrics.ts';
import { attach } from '../vhost-user/back-end.ts';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';

const root = join(import.meta.dirname, '../..');

test('two disks and a source of random numbers in one process: served, listed, counted, ended', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('b.img'), '');
  truncateSync(at('b.img'), 2 << 20);
  const devices = {
    a: { kind: 'blk', store: 'mem:1M', socket: at('a.sock'), serial: 'one', limit: 'iops=1000000' },
    b: { kind: 'blk', store: at('b.img'), socket: at('b.sock'), threads: 2, queues: 4, 'read-only': true },
    c: { kind: 'rng', socket: at('c.sock') },
  };
  const file = at('belfry.jsonc');
  writeFileSync(
    file,
    `// three\n${JSON.stringify({ control: at('control'), metrics: '0', json: true, devices }, null, 2)}`,
  );
  const checked = await belfry(['up', '--check', file]);
  assert.deepEqual([checked.code, checked.stderr], [0, '']);
  assert.match(checked.stdout, /belfry\.jsonc: 3 devices, nothing is wrong\n$/);
  assert.equal(existsSync(at('a.sock')), false);

  await using daemon = startBelfry(['up', file]);
  await daemon.says(/(?:"listening".*\n[\s\S]*){3}/);
  const [, url = ''] = await daemon.says(/"metrics":"([^"]+)"/);
  using client = await ControlClient.connect(at('control'));
  const lines: string[] = [];
  client.onEvent = ({ device, event }) => void lines.push(`${device} ${event}`);
  await client.call('subscribe', {});
  const { devices: listed } = await client.call('list', {});
  assert.deepEqual(
    listed.map(({ device, kind, sizeBytes, readOnly, queues, threads }) => [
      device,
      kind,
      sizeBytes,
      readOnly,
      queues,
      threads,
    ]),
    [
      ['a', 'blk', 1 << 20, false, 64, 1],
      ['b', 'blk', 2 << 20, true, 4, 2],
      ['c', 'rng', undefined, undefined, 1, 1],
    ],
  );
  using guest = new RawGuest();
  using attached = await attach({ path: '', lines: [], connect: () => RawFrontEnd.connect(at('b.sock')) }, guest);
  const [result] = await attached.ring.serve(blockRequest.read(0, 512));
  assert.equal(result?.status, 0);
  await eventually('its events', () => lines.includes('b connected') && lines.includes('b started'));
  const { devices: totals } = await client.call('stats', {});
  assert.deepEqual(
    totals.map(({ device, requests }) => [device, requests]),
    [
      ['a', 0],
      ['b', 1],
      ['c', 0],
    ],
  );
  await assert.rejects(client.call('queues', {}), /"device" is missing: it is one of a, b, c/);
  await assert.rejects(client.call('pause', { device: 'd' }), /there is no device "d"; there are: a, b, c/);
  const families = readMetrics(await (await fetch(url)).text(), 'prometheus');
  assert.deepEqual(
    families.get('belfry_device_info')?.samples.map(({ labels }) => labels.device),
    ['a', 'b', 'c'],
  );
  daemon.kill('SIGTERM');
  const ended = await daemon.ended;
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
  assert.deepEqual(
    ['a.sock', 'b.sock', 'c.sock', 'control'].filter((name) => existsSync(at(name))),
    [],
  );
});

test('a file that is wrong: each problem with its line; a device that cannot be opened: none is served', async (t) => {
  const folder = testFolder(t);
  const file = join(folder, 'f.jsonc');
  const withDevices = (devices: string): void => writeFileSync(file, `{\n"devices": {\n${devices}\n}}`);
  withDevices(`"a": { "kind": "blk", "store": "mem:1M", "socket": "${folder}/a", "limit": "speed=1" },
"b": { "kind": "blk", "store": "mem:1M", "socket": "${folder}/b", "threads": 5, "queues": 4 },
"c": { "kind": "net", "port": "cable", "socket": "${folder}/c" }`);
  const wrong = await belfry(['up', file]);
  assert.deepEqual(
    wrong.stderr.split('\n').map((line) => line.replace(`belfry: ${file}:`, '').replace(/(?<=: .{10}).*/, '')),
    ['3: devices.a.', '4: devices.b.', '5: devices.c.', ''],
  );
  assert.equal(wrong.code, 2);
  withDevices(`"a": { "kind": "rng", "socket": "${folder}/a" },
"b": { "kind": "blk", "store": "${folder}/absent.img", "socket": "${folder}/b" }`);
  const absent = await belfry(['up', file]);
  assert.match(absent.stderr, /^belfry: b: [^\n]*absent\.img[^\n]*\n$/);
  assert.deepEqual([absent.code, existsSync(join(folder, 'a'))], [1, false]);
  const none = await belfry(['up', join(folder, 'none.jsonc')]);
  assert.match(none.stderr, /^belfry: \S+none\.jsonc: ENOENT[^\n]+\n$/);
  assert.equal(none.code, 2);
});

test('contrib/belfry.schema.json is that of the code (BELFRY_WRITE=1 writes it)', () => {
  const path = join(root, 'contrib/belfry.schema.json');
  const schema = configJsonSchema();
  if (process.env.BELFRY_WRITE === '1') writeFileSync(path, `${JSON.stringify(schema, null, 2)}\n`);
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), schema);
});

test('systemd-analyze finds nothing wrong with the unit in contrib/', (t) => {
  const folder = testFolder(t);
  const unit = readFileSync(join(root, 'contrib/systemd/belfry.service'), 'utf8');
  const path = join(folder, 'belfry.service');
  // It looks whether the program is there.
  writeFileSync(path, unit.replaceAll('/opt/belfry/belfry', process.execPath));
  const verified = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8', timeout: patience(60_000) });
  if (verified.error !== undefined) return t.skip('peer missing: systemd-analyze (Debian: systemd)');
  const about = (verified.stdout + verified.stderr).split('\n').filter((line) => line.includes('belfry'));
  assert.deepEqual([verified.status, about], [0, []], verified.stderr);
});
