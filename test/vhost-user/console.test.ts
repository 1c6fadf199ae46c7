// test/vhost-user: a console as a VMM starts, stops, takes over and leaves it, message by message; and on several threads.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SpreadHost } from '../../src/daemon/spread-host.ts';
import { ConsoleDevice } from '../../src/devices/console/console-device.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { rideNodeLoop } from '../../src/sys/node-loop.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { eventually, RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { settle } from '../../src/testing/transport-world.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import { VhostUserServer } from '../../src/transports/vhost-user/back-end/server.ts';
import { problemsTo, serveDevice } from './back-end.ts';
import { ConsoleVmm } from './console-vmm.ts';

test('stop and cont: the base counts the buffers that were used, and input of the meantime is read once', async () => {
  const device = new ConsoleDevice({ output() {} });
  await using backEnd = serveDevice(device);
  using vmm = new ConsoleVmm();
  await vmm.connect(backEnd);
  vmm.driver.refill();
  await device.push('one ');
  await vmm.driver.reads('one ');
  for (let round = 1; round <= 3; round++) {
    const bases = await vmm.stop();
    assert.deepEqual(bases, [2 * round - 1, 0]);
    const memory = vmm.guest.memory.bytes.slice();
    await device.push('two ');
    await settle();
    assert.equal(Buffer.compare(vmm.guest.memory.bytes, memory), 0, 'memory is left alone');
    await vmm.cont(bases);
    await vmm.driver.reads('two ');
    await device.push('three ');
    await vmm.driver.reads('three ');
  }
});

test('stop does not wait for a sink that does not answer, and nothing is written twice after cont', async () => {
  const seen: string[] = [];
  const answers: (() => void)[] = [];
  const device = new ConsoleDevice({
    output: (bytes) => {
      seen.push(new TextDecoder().decode(bytes));
      return new Promise<void>((resolve) => answers.push(resolve));
    },
  });
  await using backEnd = serveDevice(device);
  using vmm = new ConsoleVmm();
  await vmm.connect(backEnd);
  for (const text of ['one', 'two', 'three']) vmm.driver.submit(text);
  await eventually('the sink to be asked', () => seen.length === 1);
  const bases = await vmm.stop();
  assert.deepEqual(bases, [0, 1]);
  await vmm.cont(bases);
  for (let i = 0; i < 3; i++) {
    await eventually('the sink to be asked', () => answers.length > i);
    answers[i]?.();
  }
  await vmm.driver.written();
  assert.deepEqual(seen, ['one', 'two', 'three']);
  assert.deepEqual(backEnd.lines, []);
});

test('another VMM goes on where the one before it stopped: no input is lost or read twice', async () => {
  const device = new ConsoleDevice({ output() {} });
  await using backEnd = serveDevice(device);
  using vmm = new ConsoleVmm();
  await vmm.connect(backEnd);
  vmm.driver.refill();
  await device.push('before ');
  await vmm.driver.reads('before ');
  const bases = await vmm.stop();
  await device.push('between ');
  vmm.front[Symbol.dispose]();
  await vmm.connect(backEnd, bases);
  await vmm.driver.reads('between ');
  await device.push('after');
  await vmm.driver.reads('after');
});

test('a VMM that leaves without a word: its buffers are given up, and the next guest reads what waits', async () => {
  const device = new ConsoleDevice({ output() {} });
  await using backEnd = serveDevice(device);
  {
    using first = new ConsoleVmm();
    await first.connect(backEnd);
    first.driver.refill();
    await device.push('first');
    await first.driver.reads('first');
  }
  await eventually('the session to end', async () => (await backEnd.server.report()).length === 0);
  await device.push('second');
  using second = new ConsoleVmm();
  await second.connect(backEnd);
  second.driver.refill();
  await second.driver.reads('second');
});

test('on several threads both queues are on one, whose device alone reads the input', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-console-'));
  const path = join(folder, 'console.sock');
  const loop = new EventLoop();
  const ride = rideNodeLoop(loop);
  const lines: string[] = [];
  const log = problemsTo(lines);
  const reads = [0, 0, 0];
  const output: string[][] = [[], [], []];
  const devices = reads.map(
    (_, thread) =>
      new ConsoleDevice({
        input: {
          async *[Symbol.asyncIterator]() {
            reads[thread]!++;
            yield `thread ${thread}`;
          },
        },
        output: (bytes) => output[thread]?.push(new TextDecoder().decode(bytes)),
      }),
  );
  const [first, ...others] = devices.map((device) => new LocalHost(device, loop, { log }));
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const host = new SpreadHost([first!, ...others], () => devices[0]!.threadOf());
  const server = new VhostUserServer(UnixListener.listen(path), host, loop, { log, onClosed: resolve });
  {
    using vmm = new ConsoleVmm();
    await vmm.connect({ connect: () => RawFrontEnd.connect(path) });
    vmm.driver.refill();
    await vmm.driver.reads('thread 0');
    vmm.driver.submit('hello');
    await vmm.driver.written();
    assert.deepEqual(await vmm.stop(), [1, 1]);
  }
  assert.deepEqual([reads, output, lines], [[1, 0, 0], [['hello'], [], []], []]);
  server.close();
  await closed;
  ride[Symbol.dispose]();
  loop[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});
