// test/cli: `serve --metrics`: what Prometheus reads, by a strict reader, by promtool, and by the dashboard in contrib/.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { metricsAddress } from '../../src/cli/options.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, patience } from '../../src/testing/patience.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { readMetrics } from '../reference/openmetrics.ts';
import { attach } from '../vhost-user/back-end.ts';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';

const OPENMETRICS = { accept: 'application/openmetrics-text; version=1.0.0,text/plain;q=0.5' };
const DASHBOARD = join(import.meta.dirname, '../../contrib/grafana/belfry.json');
/** Metrics that a disk does not have. */
const OF_OTHERS = ['belfry_device_dropped_frames_total'];

test('a disk that was used, in both formats; what is no metric; a port in use', async (t) => {
  const folder = testFolder(t);
  const socket = join(folder, 'a"disk\\.sock');
  const args = ['serve', 'blk', 'mem:1M', '--socket', socket, '--threads', '2', '--poll', '50'];
  await using daemon = startBelfry([...args, '--metrics', '0']);
  const [, url = ''] = await daemon.says(/metrics at (http:\/\/127\.0\.0\.1:\d+\/metrics)\n/);
  using guest = new RawGuest();
  using attached = await attach({ path: '', lines: [], connect: () => RawFrontEnd.connect(socket) }, guest);
  await attached.ring.serve(blockRequest.write(0, new Uint8Array(512)));
  await attached.ring.serve(blockRequest.read(0, 1024));
  await attached.ring.serve(blockRequest.read(1 << 20, 512));

  const read = async (headers: Record<string, string>) => {
    const response = await fetch(url, { headers });
    assert.equal(response.status, 200);
    return { type: response.headers.get('content-type'), text: await response.text() };
  };
  const plain = await read({});
  assert.equal(plain.type, 'text/plain; version=0.0.4; charset=utf-8');
  const families = readMetrics(plain.text, 'prometheus');
  const device = 'a"disk\\';
  const valueAt = (name: string, labels: Record<string, string>): number | undefined =>
    families
      .get(name)
      ?.samples.find((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
      ?.value;
  assert.equal(valueAt('belfry_disk_requests_total', { device, kind: 'read', outcome: 'ok' }), 1);
  assert.equal(valueAt('belfry_disk_requests_total', { device, kind: 'read', outcome: 'error' }), 1);
  assert.equal(valueAt('belfry_disk_requests_total', { device, kind: 'write', outcome: 'ok' }), 1);
  assert.equal(valueAt('belfry_device_read_bytes_total', { device }), 1024);
  assert.equal(valueAt('belfry_queue_requests_total', { device, queue: '0' }), 3);
  assert.equal(valueAt('belfry_device_connected', { device }), 1);
  assert.equal(valueAt('belfry_device_size_bytes', { device }), 1 << 20);
  const latency = families.get('belfry_queue_latency_seconds');
  assert.ok((latency?.samples.find(({ name }) => name.endsWith('_count'))?.value ?? 0) >= 1);
  assert.ok((valueAt('belfry_memory_bytes', { kind: 'private' }) ?? 0) > 1 << 20);

  const open = await read(OPENMETRICS);
  assert.equal(open.type, 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  readMetrics(open.text, 'openmetrics');
  // The threads have answered the question of the first reading by one of the next.
  await eventually('an answer', async () => (await read({})).text.includes('belfry_device_answer_seconds{'));

  const { origin } = new URL(url);
  assert.equal((await fetch(origin)).status, 404);
  assert.equal((await fetch(url, { method: 'POST', body: 'x' })).status, 405);
  // A client that sends half a request, or reads nothing, does not keep others from theirs.
  const half = connect(Number(new URL(url).port)).on('error', () => {});
  half.write('GET /metrics HTTP/1.1\r\nX: ');
  await read({});
  const second = await belfry(['serve', 'rng', '--socket', join(folder, 'b'), '--metrics', new URL(url).host]);
  assert.match(second.stderr, /^belfry: --metrics: listen EADDRINUSE[^\n]+\n$/);
  assert.equal(second.code, 1);
  await checkDashboard((await read({})).text);
  half.destroy();
  daemon.kill('SIGTERM');
  assert.equal((await daemon.ended).code, 0);

  await t.test('promtool finds nothing to complain about', (tt) => {
    const checked = spawnSync('promtool', ['check', 'metrics'], {
      input: plain.text,
      encoding: 'utf8',
      timeout: patience(60_000),
    });
    if (checked.error !== undefined) return tt.skip('promtool is not installed (Debian: prometheus)');
    assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', '']);
  });
});

/** Every metric of the dashboard is one that is served, and the other way round. */
async function checkDashboard(text: string): Promise<void> {
  const dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as {
    readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
  };
  const exprs = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const shown = new Set(exprs.flatMap((expr) => expr.match(/belfry_\w+/g) ?? []));
  const families = readMetrics(text, 'prometheus');
  const served = new Set([...families.values()].flatMap(({ samples }) => samples.map(({ name }) => name)));
  assert.deepEqual(
    [...shown].filter((name) => !served.has(name) && !OF_OTHERS.includes(name)),
    [],
  );
  const missing = [...families.keys()].filter((name) => ![...shown].some((one) => one.startsWith(name)));
  assert.deepEqual(missing, []);
  // A label that is asked for is one that the metric has.
  for (const [, name = '', , label = ''] of exprs.join('\n').matchAll(/(belfry_\w+)\{([^}]*?\b)?(\w+)=/g)) {
    const sample = [...families.values()].flatMap(({ samples }) => samples).find((one) => one.name === name);
    assert.ok(sample === undefined || Object.hasOwn(sample.labels, label), `${name} has no label ${label}`);
  }
}

test('--metrics: a port, an address and a port, and what is neither', () => {
  assert.deepEqual(metricsAddress('9420'), { host: '127.0.0.1', port: 9420 });
  assert.deepEqual(metricsAddress(':9420'), { host: '127.0.0.1', port: 9420 });
  assert.deepEqual(metricsAddress('0.0.0.0:1'), { host: '0.0.0.0', port: 1 });
  assert.deepEqual(metricsAddress('[::1]:65535'), { host: '::1', port: 65_535 });
  for (const wrong of ['', 'localhost:http', '1.2.3.4:65536', '::1:9420', '1.2.3.4:', '-1', '1:2:3'])
    assert.throws(() => metricsAddress(wrong), /It takes PORT or ADDRESS:PORT/, wrong);
});
