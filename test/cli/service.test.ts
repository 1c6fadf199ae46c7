// test/cli: `serve` as a service: what is sent to the service manager, and when.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { UnixSocket } from '../../src/sys/unix-socket.ts';
import { NotifySocket } from '../../src/testing/notify-socket.ts';
import { eventually } from '../../src/testing/patience.ts';
import { startBelfry, testFolder } from './belfry-process.ts';

test('READY=1 is sent when the socket takes connections, then events as STATUS=, then STOPPING=1', async (t) => {
  const folder = testFolder(t);
  using manager = new NotifySocket(join(folder, 'notify.sock'));
  const told: string[] = [];
  const isTold = (text: string) => (): boolean => {
    told.push(...manager.take());
    return told.includes(text);
  };
  const socket = join(folder, 'disk.sock');
  await using daemon = startBelfry(['serve', 'blk', 'mem:1M', '--socket', socket], {
    env: { NOTIFY_SOCKET: manager.name },
  });
  await eventually('READY=1', isTold('READY=1'));
  assert.deepEqual(told, ['READY=1']);
  const frontEnd = UnixSocket.connect(socket);
  await eventually('a connection', isTold('STATUS=a front end connected'));
  frontEnd[Symbol.dispose]();
  await eventually('its end', isTold('STATUS=the front end left'));
  daemon.kill('SIGTERM');
  const { code } = await daemon.ended;
  assert.equal(code, 0);
  assert.ok(isTold('STOPPING=1')(), told.join('; '));
  // A main thread that is busy may have sent the last one too.
  assert.deepEqual(
    [...new Set(told)],
    ['READY=1', 'STATUS=a front end connected', 'STATUS=the front end left', 'STOPPING=1'],
  );
});

test('a command that fails is never ready', async (t) => {
  const folder = testFolder(t);
  using manager = new NotifySocket(join(folder, 'notify.sock'));
  const args = ['serve', 'blk', join(folder, 'absent.img'), '--socket', join(folder, 'disk.sock')];
  await using daemon = startBelfry(args, { env: { NOTIFY_SOCKET: manager.name } });
  const { code } = await daemon.ended;
  assert.equal(code, 1);
  assert.deepEqual(manager.take(), []);
});
