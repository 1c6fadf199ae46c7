// test/vhost-user: hand-over: a disk moves to a back end and back while its driver keeps I/O in flight.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { ourCommand, storageDaemonCommand } from '../../bench/back-end-commands.ts';
import { type BackEndCommand, BackEndProcess } from '../../bench/back-end-process.ts';
import { BenchDisk } from '../../bench/bench-disk.ts';
import { countErrors } from '../../bench/load/load-spec.ts';
import { allowedProcessors } from '../../bench/processor-use.ts';
import type { ServedDevice } from '../../src/daemon/served-device.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { serve } from '../../src/serve.ts';
import { memory } from '../../src/stores/memory.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import { PROTOCOL_FEATURES } from '../../src/transports/vhost-user/back-end/session.ts';
import { HandOver } from '../../src/vmm/hand-over.ts';
import { ReopenableImage } from '../../src/vmm/reopenable-image.ts';
import { problemsTo } from './back-end.ts';
import { DrivenDisk, type Driving } from './driven-disk.ts';
import { ScriptedBackEnd } from './scripted-back-end.ts';
import type { Verified } from './verifying-thread.ts';

const PEER = 'qemu-storage-daemon';
const skip = spawnSync(PEER, ['--version'], { stdio: 'ignore' }).status === 0 ? false : `peer missing: ${PEER}`;
const DISK_BYTES = 8 << 20;
const QUEUES = 2;

/** A machine whose disk is in-process, an image in memory, and can be handed over. */
class Exam extends DrivenDisk {
  readonly file = new BenchDisk(DISK_BYTES);
  readonly socket = join(this.file.folder, 'hand-over.sock');
  readonly image = ReopenableImage.ofFile(this.file.path);
  readonly handOver: HandOver;

  constructor(socket?: string) {
    super({ queues: QUEUES });
    const device = new BlockDevice(this.image.store, { queues: QUEUES });
    this.socket = socket ?? this.socket;
    const registers = this.connect(new LocalHost(device, this.loop, { log: this.log }));
    const { image, loop, log } = this;
    this.handOver = new HandOver({ socket: this.socket, device, image, registers, memory: [this.memory], loop, log });
  }

  async begin(): Promise<Driving> {
    await this.bringUp();
    const driving = this.drive();
    await driving.progress();
    return driving;
  }

  async reaches(where: HandOver['where']): Promise<void> {
    await eventually(`the disk is ${where}: ${this.lines.join('; ')}`, () => this.handOver.where === where);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.handOver.close();
    await this.close();
    this.handOver[Symbol.dispose]();
    await super[Symbol.asyncDispose]();
    await this.image.close();
    this.file[Symbol.dispose]();
  }
}

function assertIntact(all: readonly Verified[], t: TestContext): void {
  for (const { errors } of all) assert.equal(countErrors(errors), 0, JSON.stringify(errors));
  t.diagnostic(`${all.map(({ requests }) => requests).join(' + ')} requests`);
}

/** Our own back end over the same image, locked by it. */
function serveImage(exam: Exam): ServedDevice & { closeImage(): void } {
  const { store } = openStore(exam.file.path);
  const server = serve(new BlockDevice(store, { queues: QUEUES }), {
    vhostUser: exam.socket,
    log: problemsTo(exam.lines),
  });
  return Object.assign(server, { closeImage: () => void store.close?.() });
}

test('a hundred times to our own back end and back, and every request completes once, with its data', async (t) => {
  await using exam = new Exam();
  const driving = await exam.begin();
  for (let round = 0; round < 100; round++) {
    exam.handOver.toggle();
    await exam.reaches('waiting');
    const server = serveImage(exam);
    await exam.reaches('there');
    await driving.progress();
    // By turns: the disk is taken back, or the back end leaves.
    if (round % 2 === 0) exam.handOver.toggle();
    await server.close();
    server.closeImage();
    await exam.reaches('here');
    await driving.progress();
  }
  assertIntact(await driving.stop(), t);
});

/** A back end of the bench at the machine's socket instead of its own, with the usual lock of the image. */
function startBackEnd({ socket }: Exam, { name, command, socket: own }: BackEndCommand): Promise<BackEndProcess> {
  const words = command.map((word) => word.replace(own, socket).replace('locking=off', 'locking=on'));
  rmSync(socket, { force: true });
  return BackEndProcess.start({ name, socket, command: words }, allowedProcessors().at(-1) ?? 0);
}

test(`to ${PEER}, back, to belfry serve, and back`, { skip }, async (t) => {
  await using exam = new Exam();
  const data = { folder: exam.file.folder, disk: exam.file.path, queues: QUEUES };
  const storageDaemon = storageDaemonCommand(data, 'threads');
  const ours = ourCommand(data, false, ['--once']);
  const driving = await exam.begin();
  for (const command of [storageDaemon, ours, storageDaemon, ours]) {
    exam.handOver.toggle();
    await exam.reaches('waiting');
    await using backEnd = await startBackEnd(exam, command);
    await exam.reaches('there');
    await driving.progress();
    exam.handOver.toggle();
    if (command === storageDaemon) {
      // Version 7.2 hangs at SIGTERM while a front end is connected.
      await eventually('the disk has left', () => exam.lines.at(-1)?.includes(' is in use') === true);
      process.kill(backEnd.pid, 'SIGKILL');
    }
    await exam.reaches('here');
    await driving.progress();
  }
  assertIntact(await driving.stop(), t);
});

test('a back end that is killed in mid-flight gives the disk back, and nothing is lost', {}, async (t) => {
  await using exam = new Exam();
  const ours = ourCommand({ folder: exam.file.folder, disk: exam.file.path, queues: QUEUES }, false, []);
  const driving = await exam.begin();
  for (let round = 0; round < 5; round++) {
    exam.handOver.toggle();
    await exam.reaches('waiting');
    await using backEnd = await startBackEnd(exam, ours);
    await exam.reaches('there');
    await driving.progress();
    process.kill(backEnd.pid, 'SIGKILL');
    await exam.reaches('here');
    await driving.progress();
  }
  assertIntact(await driving.stop(), t);
});

test('a back end that will not do is refused before anything is stopped', async (t) => {
  await using exam = new Exam();
  const store = memory(DISK_BYTES / 2);
  await using _other = serve(new BlockDevice(store, { queues: QUEUES }), {
    vhostUser: exam.socket,
    log: problemsTo(exam.lines),
  });
  const driving = await exam.begin();
  exam.handOver.toggle();
  await exam.handOver.settled;
  assert.equal(exam.handOver.where, 'here');
  assert.deepEqual(exam.lines.length, 1);
  assert.match(exam.lines[0] as string, /stays: the back end at .* is refused: its disk has 8192 sectors/);
  await driving.progress();
  assertIntact(await driving.stop(), t);
});

test('a hand-over to which no back end connects is taken back, and the requests of the meantime are served', async (t) => {
  await using exam = new Exam();
  const driving = await exam.begin();
  exam.handOver.toggle();
  exam.handOver.toggle();
  await exam.reaches('waiting');
  assert.match(exam.lines[0] as string, /is being handed over already$/);
  exam.handOver.toggle();
  await exam.reaches('here');
  await driving.progress();
  assertIntact(await driving.stop(), t);
});

test('a driver that resets the device while the disk is elsewhere finds it there, and back here', async () => {
  await using exam = new Exam();
  const hand = await exam.byHand();
  await hand.serve(blockRequest.write(1, new Uint8Array(512).fill(1)));
  exam.handOver.toggle();
  await exam.reaches('waiting');
  const server = serveImage(exam);
  await exam.reaches('there');
  await hand.serve(blockRequest.write(2, new Uint8Array(512).fill(2)));
  await exam.registers.writeStatus(0);
  const anew = await exam.byHand();
  const results = await anew.serve(blockRequest.read(1, 512), blockRequest.read(2, 512), blockRequest.flush());
  assert.deepEqual(
    results.map(({ data, status }) => [status, data[0]]),
    [
      [0, 1],
      [0, 2],
      [0, undefined],
    ],
  );
  await server.close();
  server.closeImage();
  await exam.reaches('here');
  const [result] = await anew.serve(blockRequest.read(2, 512));
  assert.equal(result?.data[0], 2);
});

test('an image that another process has locked is waited for, and that is logged once', async (t) => {
  await using exam = new Exam();
  const driving = await exam.begin();
  exam.handOver.toggle();
  await exam.reaches('waiting');
  const server = serveImage(exam);
  await exam.reaches('there');
  exam.handOver.toggle();
  const isInUse = (line: string): boolean => line.includes(' is in use');
  await eventually('the image is missed', () => exam.lines.some(isInUse));
  // Time: silence is listened to.
  await setTimeout(300);
  assert.equal(exam.handOver.where, 'moving');
  assert.equal(exam.lines.filter(isInUse).length, 1);
  await server.close();
  server.closeImage();
  await exam.reaches('here');
  await driving.progress();
  assertIntact(await driving.stop(), t);
});

for (const [verb, act] of [
  ['dies at', 'leavesAt'],
  ['refuses', 'refuses'],
] as const) {
  for (const name of ['SET_FEATURES', 'ADD_MEM_REG', 'SET_VRING_NUM', 'SET_VRING_KICK', 'SET_VRING_ENABLE']) {
    test(`a back end that ${verb} ${name} while it is given the disk does not get it, and nothing is lost`, async (t) => {
      await using exam = new Exam();
      const { features, config } = exam.registers.device;
      assert.ok(config !== undefined);
      using backEnd = new ScriptedBackEnd(exam.loop, exam.socket, {
        ...{ features, config: config.bytes, queues: QUEUES, protocolFeatures: PROTOCOL_FEATURES, [act]: name },
      });
      const driving = await exam.begin();
      exam.handOver.toggle();
      await eventually('it comes back', () => exam.lines.at(-1)?.endsWith('is served in-process') === true);
      assert.ok(backEnd.said.includes(name));
      assert.match(exam.lines[0] as string, new RegExp(`comes back: .*${act === 'refuses' ? name : 'closed'}`));
      await driving.progress();
      assertIntact(await driving.stop(), t);
    });
  }
}
