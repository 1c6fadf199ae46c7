// test/vhost-user: back ends that leave, refuse or lie while they introduce themselves to our front end.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { rideNodeLoop } from '../../src/sys/node-loop.ts';
import { eventually } from '../../src/testing/patience.ts';
import { RemoteBackEnd } from '../../src/transports/vhost-user/front-end/remote-back-end.ts';
import * as vu from '../../src/transports/vhost-user/protocol/spec.ts';
import { openDescriptors } from './back-end.ts';
import { type Script, ScriptedBackEnd } from './scripted-back-end.ts';

const ALL = vu.PROTOCOL_F_MQ | vu.PROTOCOL_F_REPLY_ACK | vu.PROTOCOL_F_BACKEND_REQ | vu.PROTOCOL_F_CONFIG;
const TRIES = 20;

/** Has our front end connect to a back end that follows the script, and expects that to fail. */
async function assertFails(loop: EventLoop, path: string, script: Partial<Script>, message: RegExp): Promise<void> {
  using _theirs = new ScriptedBackEnd(loop, path, { protocolFeatures: ALL, ...script });
  const connected = RemoteBackEnd.connect(path, loop, { configBytes: 8, log: () => {} });
  await assert.rejects(connected, { name: 'BackEndError', message });
}

function bed(t: TestContext): { loop: EventLoop; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-introductions-'));
  const loop = new EventLoop();
  const ride = rideNodeLoop(loop);
  t.after(() => {
    ride[Symbol.dispose]();
    loop[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });
  return { loop, path: join(folder, 's') };
}

test('regression: a back end that ends in its introduction, wherever, leaves no descriptor behind', async (t) => {
  const { loop, path } = bed(t);
  const fails = async (): Promise<void> => {
    for (const leavesAt of ['GET_FEATURES', 'GET_QUEUE_NUM', 'SET_OWNER', 'SET_BACKEND_REQ_FD'])
      await assertFails(loop, path, { leavesAt }, /^\w+: the back end (closed the connection|is gone)$/);
    await assertFails(loop, path, { refuses: 'SET_BACKEND_REQ_FD' }, /^SET_BACKEND_REQ_FD: the back end refused it/);
  };
  await fails();
  const before = openDescriptors();
  for (let i = 0; i < TRIES; i++) await fails();
  await eventually('the descriptors to be closed', () => openDescriptors() <= before);
});

test('regression: a number of queues that cannot be is refused, before anything is made of it', async (t) => {
  const { loop, path } = bed(t);
  for (const queues of [0, 257, 2 ** 27, 2 ** 32 - 1])
    await assertFails(
      loop,
      path,
      { queues },
      new RegExp(`^GET_QUEUE_NUM: the back end says that it has ${queues} queues; 1 to 256 are possible$`),
    );
});
