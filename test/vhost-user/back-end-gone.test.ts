// test/vhost-user: a back end that disconnects while its disk is in use: requests wait or fail, none is lost or served twice.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { ourCommand, storageDaemonCommand } from '../../bench/back-end-commands.ts';
import { BackEndProcess } from '../../bench/back-end-process.ts';
import { BenchDisk } from '../../bench/bench-disk.ts';
import { countErrors } from '../../bench/load/load-spec.ts';
import { allowedProcessors } from '../../bench/processor-use.ts';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '../../src/devices/blk/spec.ts';
import { serve } from '../../src/serve.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { DeviceStatus } from '../../src/virtio/spec.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';
import { type BackEnd, DISK_BYTES, gatedDisk, makeDisk, problemsTo, serveDisk } from './back-end.ts';
import { PluggedMachine as Machine } from './plugged-machine.ts';

const PEER = 'qemu-storage-daemon';
const skip = spawnSync(PEER, ['--version'], { stdio: 'ignore' }).status === 0 ? false : `peer missing: ${PEER}`;
const FILE_BYTES = 8 << 20;

/** The same disk again, or another one, at the socket of one that is gone. */
async function serveAgain({ path, lines }: BackEnd, device = makeDisk()) {
  const server = serve(device, { vhostUser: path, log: problemsTo(lines) });
  return server;
}

const read = (sector: number) => blockRequest.read(sector, 512);
const sectorOf = (sector: number): Uint8Array => pattern(DISK_BYTES).subarray(512 * sector, 512 * sector + 512);

test('requests wait while the back end is gone, and are served when it is back', async () => {
  await using backEnd = serveDisk();
  await using machine = await Machine.with(backEnd.path, 'wait');
  const hand = await machine.byHand();
  assert.equal((await hand.serve(read(1)))[0]?.status, VIRTIO_BLK_S_OK);
  await backEnd.server.close();
  await machine.says(/the back end closed the connection; its disk's requests wait until it returns$/);
  hand.submit(read(2), read(3));
  await using _again = await serveAgain(backEnd);
  const results = await hand.results();
  assert.deepEqual(
    results.map(({ status }) => status),
    [VIRTIO_BLK_S_OK, VIRTIO_BLK_S_OK],
  );
  assert.deepEqual(
    results.map(({ data }) => data),
    [sectorOf(2), sectorOf(3)],
  );
  await machine.says(/the back end is back$/);
  assert.equal(machine.lines.length, 2);
  assert.equal(machine.registers.status & DeviceStatus.DEVICE_NEEDS_RESET, 0);
});

test('requests fail while the back end is gone if the user chose that, and are served when it is back', async () => {
  await using backEnd = serveDisk();
  await using machine = await Machine.with(backEnd.path, 'fail');
  const hand = await machine.byHand();
  assert.equal((await hand.serve(read(1)))[0]?.status, VIRTIO_BLK_S_OK);
  await backEnd.server.close();
  await machine.says(/requests fail until it returns$/);
  for (const request of [read(2), blockRequest.write(3, new Uint8Array(512)), blockRequest.flush()])
    assert.equal((await hand.serve(request))[0]?.status, VIRTIO_BLK_S_IOERR);
  await using _again = await serveAgain(backEnd);
  await machine.says(/the back end is back$/);
  const [result] = await hand.serve(read(3));
  assert.deepEqual([result?.status, result?.data], [VIRTIO_BLK_S_OK, sectorOf(3)]);
});

test('a back end that reconnects with another disk is refused with one line, and the right one is waited for', async () => {
  await using backEnd = serveDisk();
  await using machine = await Machine.with(backEnd.path, 'wait');
  const hand = await machine.byHand();
  await backEnd.server.close();
  hand.submit(read(1));
  {
    await using _smaller = await serveAgain(backEnd, makeDisk(arrayStore(pattern(DISK_BYTES / 2))));
    await machine.says(/is refused: its configuration space is another one from byte 0 on$/);
  }
  {
    await using _readOnly = await serveAgain(backEnd, makeDisk(withoutWrite()));
    await machine.says(/is refused: it no longer offers the feature bits 0x/);
  }
  assert.equal(machine.lines.filter((line) => line.includes('is refused')).length, 2);
  await using _right = await serveAgain(backEnd);
  assert.equal((await hand.results())[0]?.status, VIRTIO_BLK_S_OK);
});

function withoutWrite() {
  const { write: _write, ...readOnly } = arrayStore(pattern(DISK_BYTES));
  return readOnly;
}

test('the driver may reset the device, and begin again, while the back end is gone', async () => {
  await using backEnd = serveDisk();
  await using machine = await Machine.with(backEnd.path, 'wait');
  const hand = await machine.byHand();
  await hand.serve(read(1));
  await backEnd.server.close();
  await machine.says(/wait until it returns$/);
  hand.submit(read(2));
  await machine.registers.writeStatus(0);
  assert.equal(machine.registers.status, 0);
  const anew = await machine.byHand();
  anew.submit(read(3));
  await using _again = await serveAgain(backEnd);
  assert.deepEqual((await anew.results())[0]?.data, sectorOf(3));
});

test('a reset waits for what the back end has in flight', async () => {
  const gated = gatedDisk();
  await using backEnd = serveDisk(gated.store);
  await using machine = await Machine.with(backEnd.path, 'wait');
  const hand = await machine.byHand();
  hand.submit(read(1));
  await eventually('the read waits', () => gated.waiting === 1);
  let isReset = false;
  const reset = Promise.resolve(machine.registers.writeStatus(0)).then(() => {
    isReset = true;
  });
  await machine.says(/has not answered GET_VRING_BASE for 1 s/);
  assert.ok(!isReset);
  gated.release();
  await reset;
  assert.equal(hand.driver.harvest()[0]?.status, VIRTIO_BLK_S_OK);
});

/** A disk whose reads wait, each for its own promise. */
function disorderlyDisk() {
  const gates: (() => void)[] = [];
  const inner = arrayStore(pattern(DISK_BYTES));
  const store = {
    ...inner,
    async read(offset: number, into: Uint8Array) {
      await new Promise<void>((resolve) => gates.push(resolve));
      return inner.read(offset, into);
    },
  };
  const openAll = (): void => {
    for (const gate of gates) gate();
  };
  return { store, gates, [Symbol.dispose]: openAll };
}

test('a machine ends although its back end does not give its requests back', async () => {
  const gated = gatedDisk();
  await using backEnd = serveDisk(gated.store);
  const machine = await Machine.with(backEnd.path, 'wait');
  const hand = await machine.byHand();
  hand.submit(read(1));
  await eventually('the read waits', () => gated.waiting === 1);
  await machine[Symbol.asyncDispose]();
  gated.release();
});

test('the next back end finishes what a lost one left in flight, though it completed others out of order', async () => {
  const disorderly = disorderlyDisk();
  await using backEnd = serveDisk(disorderly.store);
  await using machine = await Machine.with(backEnd.path, 'wait');
  using _gates = disorderly;
  const hand = await machine.byHand();
  hand.submit(read(1), read(2), read(3));
  await eventually('the reads wait', () => disorderly.gates.length === 3);
  disorderly.gates[1]?.();
  await eventually('the second is finished', () => hand.driver.queue.hasUsed());
  assert.deepEqual(hand.driver.harvest()[0]?.data, sectorOf(2));
  // As if it was killed: it finishes nothing more, and another listens where it did.
  rmSync(backEnd.path);
  await using _again = await serveAgain(backEnd);
  const gone = machine.disk?.host.backEnd;
  gone?.[Symbol.dispose]();
  gone?.onGone?.(new Error('the back end was killed'));
  const finished: (Uint8Array | undefined)[] = [];
  await eventually('the others are finished by the next back end', () => {
    for (const { data } of hand.driver.harvest()) finished.push(data);
    return finished.length === 2;
  });
  assert.deepEqual(finished, [sectorOf(1), sectorOf(3)]);
  assert.equal(machine.registers.status & DeviceStatus.DEVICE_NEEDS_RESET, 0);
});

for (const [name, commandOf] of [
  ['belfry serve', (folder: string, disk: string) => ourCommand({ folder, disk, queues: 1 }, false, [])],
  [PEER, (folder: string, disk: string) => storageDaemonCommand({ folder, disk, queues: 1 }, 'threads')],
] as const) {
  const missing = name === PEER ? skip : false;

  test(`${name} is killed in mid-flight and started again, ten times, and nothing is lost`, {
    skip: missing,
  }, async (t) => {
    using file = new BenchDisk(FILE_BYTES);
    const command = commandOf(file.folder, file.path);
    const start = (): Promise<BackEndProcess> => {
      rmSync(command.socket, { force: true });
      return BackEndProcess.start(command, allowedProcessors().at(-1) ?? 0, t.signal);
    };
    let backEnd = await start();
    // Who serves several at once finishes them in any order; one at a time there is no order to lose.
    await using machine = await Machine.with(command.socket, 'wait', { depth: name === PEER ? 1 : 32 });
    await machine.bringUp();
    const driving = machine.drive();
    for (let round = 1; round <= 10; round++) {
      await driving.progress();
      process.kill(backEnd.pid, 'SIGKILL');
      await backEnd[Symbol.asyncDispose]();
      backEnd = await start();
      await eventually('it is back', () => machine.lines.filter((line) => line.endsWith('is back')).length === round);
    }
    await driving.progress();
    const [verified] = await driving.stop();
    assert.equal(countErrors(verified!.errors), 0, JSON.stringify(verified));
    t.diagnostic(`${verified!.requests} requests`);
    await machine.disk?.close();
    await machine.close();
    process.kill(backEnd.pid, 'SIGKILL');
  });
}
