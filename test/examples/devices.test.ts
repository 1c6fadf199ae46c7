// test/examples: the devices: what each does, and that each passes the conformance suite.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { shareRunningCopy } from '../../src/daemon/running-copy.ts';
import { deviceConformance } from '../../src/testing/device-conformance.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { eventually } from '../../src/testing/patience.ts';

// As the command line does before it loads a device.
shareRunningCopy();
const { default: echo } = await import('../../examples/echo.ts');
const { Stopwatch } = await import('../../examples/stopwatch.ts');
const { default: thermometer } = await import('../../examples/thermometer.ts');

const folder = mkdtempSync(join(tmpdir(), 'belfry-examples-'));
after(() => rmSync(folder, { recursive: true }));
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = ({ bytes, written }: { readonly bytes: Uint8Array; readonly written: number }): string =>
  new TextDecoder().decode(bytes.subarray(0, written));

deviceConformance('examples/echo.ts', {
  open: () => echo,
  queues: [
    {
      request: () => ({ readable: [bytesOf('hello')], writable: [8] }),
      check: (used) => assert.equal(textOf(used), 'hello'),
    },
  ],
});

// Its configuration space must not change by itself while the suite compares it.
deviceConformance('examples/stopwatch.ts', {
  open: () => new Stopwatch(3_600_000),
  queues: [{ request: () => ({ readable: [Uint8Array.of(0)] }) }],
});

test('examples/stopwatch.ts counts, notifies the driver, and restarts at a request', async () => {
  await using loop = await DeviceLoopback.start(new Stopwatch(1));
  await eventually('it counts', () => loop.config().getUint32(0, true) >= 3);
  assert.ok(loop.configChanges >= 3);
  await loop.reset();
  await eventually('it counts after a reset', () => loop.config().getUint32(0, true) >= 1);

  await using slow = await DeviceLoopback.start(new Stopwatch(3_600_000));
  new DataView(slow.device.config?.bytes.buffer as ArrayBuffer).setUint32(0, 5, true);
  await slow.queues[0]?.request({ readable: [Uint8Array.of(0)] });
  assert.equal(slow.config().getUint32(0, true), 0);
});

test('examples/thermometer.ts answers a question, and reports an error of its sensor', async () => {
  const sensor = join(folder, 'temp');
  await using loop = await DeviceLoopback.start(thermometer(sensor));
  const [receive, transmit] = loop.queues as [LoopbackQueue, LoopbackQueue];
  const ask = async (): Promise<string> => {
    const answer = receive.request({ writable: [128] });
    await transmit.request({ readable: [bytesOf('?\n')] });
    return textOf(await answer);
  };
  writeFileSync(sensor, '48312\n');
  assert.equal(await ask(), '48.3 °C\n');
  rmSync(sensor);
  assert.match(await ask(), /^ENOENT: no such file .*\n$/);
  await transmit.request({ readable: [bytesOf('no question')] });
  assert.deepEqual(receive.harvest(), []);
  assert.throws(() => thermometer(undefined), /set SENSOR/);
});
