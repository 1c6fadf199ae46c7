// test/vhost-user: INFLIGHT_SHMFD: a back end records requests in flight, and the next one gets the record. Both are simulated.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import {
  PROTOCOL_F_CONFIG,
  PROTOCOL_F_INFLIGHT_SHMFD,
  PROTOCOL_F_REPLY_ACK,
} from '../../src/transports/vhost-user/protocol/spec.ts';
import { DeviceStatus } from '../../src/virtio/spec.ts';
import { SplitRing } from '../../src/virtio/split/split-ring.ts';
import { VhostUserDisk } from '../../src/vmm/vhost-user-disk.ts';
import { DrivenDisk } from './driven-disk.ts';
import { ScriptedBackEnd } from './scripted-back-end.ts';

const SCRIPT = { protocolFeatures: PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIG | PROTOCOL_F_INFLIGHT_SHMFD };

async function plugged(t: TestContext, script = SCRIPT) {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-inflight-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const socket = join(folder, 'disk.sock');
  const machine = new DrivenDisk();
  const backEnd = new ScriptedBackEnd(machine.loop, socket, script);
  const { loop, log, memory } = machine;
  const disk = await VhostUserDisk.connect({ socket, whenGone: 'wait', memory: [memory], loop, log });
  machine.connect(disk.host);
  const hand = await machine.byHand();
  const end = async (last: ScriptedBackEnd): Promise<void> => {
    await disk.close();
    await machine.close();
    disk[Symbol.dispose]();
    last[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
  };
  return { machine, backEnd, socket, hand, end };
}

test('the notes of a back end that is gone go to the next, with the used index, and out of order is no matter', async (t) => {
  const { machine, backEnd, socket, hand, end } = await plugged(t);
  assert.ok(backEnd.said.indexOf('SET_INFLIGHT_FD') < backEnd.said.indexOf('SET_VRING_KICK'));
  hand.submit(blockRequest.flush(), blockRequest.flush(), blockRequest.flush());
  const ring = new SplitRing(hand.driver.queue.size, hand.driver.queue.layout);
  ring.setUsed(0, ring.availableHead(1), 1);
  ring.setUsedIndex(1);
  backEnd[Symbol.dispose]();
  const next = new ScriptedBackEnd(machine.loop, socket, SCRIPT);
  await eventually('the ring is started', () => next.said.includes('SET_VRING_ENABLE'));
  assert.equal(next.notes, backEnd.notes);
  assert.equal(next.base, 1);
  assert.ok(!next.said.includes('GET_INFLIGHT_FD'));
  assert.deepEqual(
    machine.lines.filter((line) => line.includes('stopped')),
    [],
  );
  await end(next);
});

test('after a reset there is nothing to note: new notes are asked for', async (t) => {
  const { machine, backEnd, hand, end } = await plugged(t);
  const before = backEnd.notes;
  assert.equal(hand.driver.inFlight, 0);
  await machine.registers.writeStatus(0);
  await eventually('new notes', () => backEnd.notes !== before);
  assert.equal(backEnd.said.filter((name) => name === 'GET_INFLIGHT_FD').length, 2);
  await end(backEnd);
});

test('without INFLIGHT_SHMFD, out-of-order completions of a lost back end need a reset of the device, §2.1.2', async (t) => {
  const script = { protocolFeatures: PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIG };
  const { machine, backEnd, socket, hand, end } = await plugged(t, script);
  assert.ok(!backEnd.said.includes('GET_INFLIGHT_FD'));
  hand.submit(blockRequest.flush(), blockRequest.flush(), blockRequest.flush());
  const ring = new SplitRing(hand.driver.queue.size, hand.driver.queue.layout);
  ring.setUsed(0, ring.availableHead(1), 1);
  ring.setUsedIndex(1);
  backEnd[Symbol.dispose]();
  const next = new ScriptedBackEnd(machine.loop, socket, script);
  const stopped =
    /queue 0 stopped until the driver resets it: its back end went away with requests finished out of order/;
  await eventually('the queue stops', () => machine.lines.some((line) => stopped.test(line)));
  await eventually('the driver is told', () => (machine.registers.status & DeviceStatus.DEVICE_NEEDS_RESET) !== 0);
  assert.equal(machine.configChanges, 1);
  await end(next);
});
