// cli: the counts that `serve` prints at its end.
import assert from 'node:assert/strict';
import { createHistogram } from 'node:perf_hooks';
import { test } from 'node:test';
import type { DeviceSnapshot } from '../daemon/device-snapshot.ts';
import type { ServedDevice } from '../daemon/served-device.ts';
import { ServeReport } from './serve-report.ts';

const disk = { latency: createHistogram() } as unknown as ServedDevice;
const snapshot = (requests: number, kicks: number, calls: number): DeviceSnapshot => ({
  requests,
  batches: requests,
  bytesRead: 0,
  bytesWritten: 0,
  kicks,
  calls,
});

for (const [requests, kicks, calls, expected] of [
  [1000, 1, 250, '1 kick (99.9 % saved), 250 calls (75.0 % saved)'],
  [100_000, 1, 0, '1 kick (99.9 % saved), 0 calls (100.0 % saved)'],
  [10, 12, 10, '12 kicks (0.0 % saved), 10 calls (0.0 % saved)'],
  [0, 3, 1, '3 kicks, 1 call'],
] as const) {
  test(`of ${requests} requests with ${kicks} kicks and ${calls} calls it prints how many notifications were saved`, (t) => {
    const print = t.mock.method(process.stdout, 'write', () => true);
    new ServeReport({ json: false, quiet: false }).closed(snapshot(requests, kicks, calls), disk);
    const said = `${print.mock.calls[0]?.arguments[0]}`;
    print.mock.restore();
    assert.ok(said.endsWith(`${expected}\n`), said);
  });
}

test('as JSON the notifications saved are numbers', (t) => {
  const print = t.mock.method(process.stdout, 'write', () => true);
  new ServeReport({ json: true, quiet: false }).closed(snapshot(10, 12, 4), disk);
  const said = `${print.mock.calls[0]?.arguments[0]}`;
  print.mock.restore();
  const { kicksSaved, callsSaved, level, event } = JSON.parse(said);
  assert.deepEqual([level, event], ['info', 'closed']);
  assert.deepEqual([kicksSaved, callsSaved], [0, 6]);
});
