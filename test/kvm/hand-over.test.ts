// test/kvm: a disk is handed over and taken back under a guest that kicks by ioeventfd and waits for each completion.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { storageDaemonCommand } from '../../bench/back-end-commands.ts';
import { BackEndProcess } from '../../bench/back-end-process.ts';
import { BenchDisk } from '../../bench/bench-disk.ts';
import { planQueue } from '../../bench/load/queue-plan.ts';
import { RequestSlots } from '../../bench/load/request-slots.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { VIRTIO_BLK_S_OK } from '../../src/devices/blk/spec.ts';
import { serve } from '../../src/serve.ts';
import { openStore } from '../../src/stores/open-store.ts';
import type { Payload } from '../../src/testing/payload.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { MmioRegister as Reg } from '../../src/transports/bus/mmio/spec.ts';
import { DeviceStatus } from '../../src/virtio/spec.ts';
import { addHandOverDisk, type HandOver } from '../../src/vmm/hand-over.ts';
import { ReopenableImage } from '../../src/vmm/reopenable-image.ts';
import { virtioSlots } from '../../src/vmm/virtio-slots.ts';
import { kvmTest } from './kvm-case.ts';
import { kernelCode, powerOff, withMachine } from './payload-machine.ts';

const WINDOW = 0xd000_0000;
/** Addresses of the ring, its requests, and the word that ends the guest. */
const RING = 0x30_0000;
const STOP = 0x2f_0000;
const DISK_BYTES = 1 << 20;
const BLOCK_BYTES = 512;
const ROUNDS = 20;

const plan = planQueue(0, { depth: 16, blockBytes: BLOCK_BYTES, segmentBytesMax: BLOCK_BYTES });
const bytesOf = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** rbx is the window: mov [rbx + register], value */
function writeRegister(payload: Payload, register: number, value: number): void {
  payload.set('eax', value).raw(0x89, 0x83, ...bytesOf(register));
}

/** Brings the disk up; then makes the next request available, rings and waits for it, again and again until STOP is not 0. */
function driver(): Payload {
  const payload = kernelCode().set('ebx', WINDOW).set('esi', 0);
  const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = DeviceStatus;
  const negotiated = ACKNOWLEDGE | DRIVER | FEATURES_OK;
  for (const [register, value] of [
    [Reg.Status, ACKNOWLEDGE],
    [Reg.Status, ACKNOWLEDGE | DRIVER],
    [Reg.DriverFeaturesSel, 1],
    [Reg.DriverFeatures, 1], // VIRTIO_F_VERSION_1 alone
    [Reg.Status, negotiated],
    [Reg.QueueSel, 0],
    [Reg.QueueSize, plan.size],
    [Reg.QueueDescLow, RING + plan.descriptorArea],
    [Reg.QueueDriverLow, RING + plan.driverArea],
    [Reg.QueueDeviceLow, RING + plan.deviceArea],
    [Reg.QueueReady, 1],
    [Reg.Status, negotiated | DRIVER_OK],
  ] as const)
    writeRegister(payload, register, value);
  // `idx` is the upper half of a ring's first word: add dword [available ring], 1 << 16; inc esi
  payload.label('again').raw(0x81, 0x04, 0x25, ...bytesOf(RING + plan.driverArea), ...bytesOf(0x1_0000), 0xff, 0xc6);
  writeRegister(payload, Reg.QueueNotify, 0);
  // shr eax, 16; cmp ax, si
  payload
    .label('wait')
    .load('eax', RING + plan.deviceArea)
    .raw(0xc1, 0xe8, 16, 0x66, 0x39, 0xf0)
    .jumpIfNotZero('wait');
  // test edx, edx
  payload.load('edx', STOP).raw(0x85, 0xd2).jumpIfEqual('again');
  return powerOff(payload);
}

/** The requests of the ring, the same ones in every round of it: slot i moves sector i, the odd ones write. */
function layOut(low: Uint8Array<ArrayBuffer>): RequestSlots {
  const memory = low.subarray(RING, RING + plan.end);
  const slots = new RequestSlots(memory, plan, RING);
  const ring = new Uint16Array(memory.buffer, memory.byteOffset + plan.driverArea + 4, plan.size);
  for (let at = 0; at < plan.size; at++) ring[at] = slots.heads[at % slots.count] as number;
  for (let slot = 0; slot < slots.count; slot++) {
    slots.words[slot]?.fill(slot % 2 === 1 ? 0x0101_0101 * slot : 0);
    slots.prepare(slot, slot % 2 === 1, slot);
  }
  return slots;
}

function assertServed(slots: RequestSlots, image: Uint8Array): void {
  for (let slot = 0; slot < slots.count; slot++) {
    assert.equal(slots.status(slot), VIRTIO_BLK_S_OK, `slot ${slot}`);
    const words = slots.words[slot] as Uint32Array;
    const moved = new Uint8Array(words.buffer, words.byteOffset, BLOCK_BYTES);
    assert.deepEqual(moved, image.subarray(slot * BLOCK_BYTES, (slot + 1) * BLOCK_BYTES), `slot ${slot}`);
  }
}

type Serve = (file: BenchDisk, socket: string) => Promise<() => Promise<void>>;

/** Our own back end, with the image open for as long as it serves. */
const serveOurselves: Serve = async (file, socket) => {
  const { store } = openStore(file.path);
  const server = serve(new BlockDevice(store, { queues: 1 }), { vhostUser: socket, log: () => {} });
  return async () => {
    await server.close();
    await store.close?.();
  };
};

const serveByPeer: Serve = async (file, socket) => {
  const {
    command,
    name,
    socket: own,
  } = storageDaemonCommand({ folder: file.folder, disk: file.path, queues: 1 }, 'threads');
  const words = command.map((word) => word.replace(own, socket).replace('locking=off', 'locking=on'));
  const backEnd = await BackEndProcess.start({ name, socket, command: words }, 0);
  return async () => {
    process.kill(backEnd.pid, 'SIGKILL');
    await backEnd[Symbol.asyncDispose]();
  };
};

const PEER = 'qemu-storage-daemon';
const hasPeer = spawnSync(PEER, ['--version'], { stdio: 'ignore' }).status === 0;

for (const [who, startServing, rounds] of [
  ['our own back end', serveOurselves, ROUNDS],
  ...(hasPeer ? [[PEER, serveByPeer, 3] as const] : []),
] as const) {
  kvmTest(
    `a guest that waits for each answer gets it, whoever has its disk: in-process, ${who}, and back`,
    async (kvm, t) => {
      using file = new BenchDisk(DISK_BYTES);
      const socket = join(file.folder, 'hand-over.sock');
      const lines: string[] = [];
      let handOver: HandOver | undefined;
      let slots: RequestSlots | undefined;
      const prepare = async (machine: Parameters<typeof virtioSlots>[0]): Promise<void> => {
        const image = ReopenableImage.ofFile(file.path);
        const log = (line: string): void => void lines.push(line);
        handOver = await addHandOverDisk(image, socket, { machine, slots: virtioSlots(machine, 'mmio'), log });
        slots = layOut(machine.ram.low);
      };
      await withMachine(
        kvm,
        t,
        driver(),
        async (machine) => {
          const { ram } = machine;
          const served = (): number => ram.view.getUint16(RING + plan.deviceArea + 2, true);
          const goesOn = async (): Promise<void> => {
            const before = served();
            const isMoving = (): boolean => ((served() - before) & 0xffff) > 20;
            await eventually(`the guest goes on; ${lines.join('; ')}`, isMoving);
          };
          const reaches = (where: string): Promise<void> =>
            eventually(`the disk is ${where}; ${lines.join('; ')}`, () => handOver?.where === where);
          await goesOn();
          for (let round = 0; round < rounds; round++) {
            handOver?.toggle();
            await reaches('waiting');
            const stopServing = await startServing(file, socket);
            await reaches('there');
            await goesOn();
            if (round % 2 === 0) handOver?.toggle();
            await stopServing();
            await reaches('here');
            await goesOn();
          }
          ram.view.setUint32(STOP, 1, true);
          assert.equal((await machine.ended).how, 'power-off');
          assertServed(slots as RequestSlots, new Uint8Array(readFileSync(file.path)));
          // It leaves the guest to set the device up and to end; to ring never.
          assert.ok(machine.exits < 50, `${machine.exits} exits`);
        },
        { prepare },
      );
    },
  );
}
