// vhost-user: the exam of the host-notifier machine: a disk goes from our device to a back end and back while its driver keeps I/O in flight.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ourCommand, storageDaemonCommand } from '../../src/bench/back-end-commands.ts';
import { type BackEndCommand, BackEndProcess } from '../../src/bench/back-end-process.ts';
import { BenchDisk } from '../../src/bench/bench-disk.ts';
import { countErrors } from '../../src/bench/load/load-spec.ts';
import { allowedProcessors } from '../../src/bench/processor-use.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { type Server, serve } from '../../src/serve.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { LocalQueueHost } from '../../src/transports/local-queue-host.ts';
import { HandOver } from '../../src/vmm/hand-over.ts';
import { LendableImage } from '../../src/vmm/lendable-image.ts';
import { DrivenDisk, type Driving } from './driven-disk.ts';
import type { Verified } from './verifying-thread.ts';

const PEER = 'qemu-storage-daemon';
const skip = spawnSync(PEER, ['--version'], { stdio: 'ignore' }).status === 0 ? false : `peer missing: ${PEER}`;
const DISK_BYTES = 8 << 20;
const QUEUES = 2;

/** A machine whose disk is in-process, an image in memory, and can be handed over. */
class Exam extends DrivenDisk {
  readonly file = new BenchDisk(DISK_BYTES);
  readonly socket = join(this.file.folder, 'hand-over.sock');
  readonly image = new LendableImage(() => openStore(this.file.path).store);
  readonly handOver: HandOver;

  constructor(socket?: string) {
    super({ queues: QUEUES });
    const device = new BlockDevice(this.image.store, { queues: QUEUES, onError: this.log, ranges: 'portable' });
    this.socket = socket ?? this.socket;
    const session = this.connect(device, new LocalQueueHost(device, this.loop, { log: this.log }));
    const { image, loop, log, memory } = this;
    this.handOver = new HandOver({ socket: this.socket, device, image, session, memory: [memory], loop, log });
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
    this.handOver.close();
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
function serveImage(exam: Exam): Server & { closeImage(): void } {
  const { store } = openStore(exam.file.path);
  const server = serve(new BlockDevice(store, { queues: QUEUES }), { vhostUser: exam.socket, log: exam.log });
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

/** One of the bench's, which is told of the machine's socket instead of its own, and locks the image as it always does. */
function startBackEnd({ socket }: Exam, { name, command, socket: own }: BackEndCommand): Promise<BackEndProcess> {
  const words = command.map((word) => word.replace(own, socket).replace('locking=off', 'locking=on'));
  rmSync(socket, { force: true });
  return BackEndProcess.start({ name, socket, command: words }, allowedProcessors().at(-1) ?? 0);
}

test(`to ${PEER}, back, to belfry serve, and back`, { skip, timeout: 100_000 }, async (t) => {
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
      // Version 7.2 hangs when it is told to end while somebody is connected.
      await eventually('the disk has left', () => exam.lines.at(-1)?.includes(' is in use') === true);
      process.kill(backEnd.pid, 'SIGKILL');
    }
    await exam.reaches('here');
    await driving.progress();
  }
  assertIntact(await driving.stop(), t);
});
