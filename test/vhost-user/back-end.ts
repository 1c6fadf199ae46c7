// test/vhost-user: a disk served in the test's own process, and the messages of a front end before its rings run.
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoopServer } from '../../src/daemon/loop-server.ts';
import type { ServedDevice } from '../../src/daemon/served-device.ts';
import type { BlockDeviceOptions } from '../../src/devices/blk/block-config.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { RawFrontEnd, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import type { RawGuest, RawRing } from '../../src/testing/raw-guest.ts';
import { PROTOCOL_FEATURES } from '../../src/transports/vhost-user/back-end/session.ts';
import { F_PROTOCOL_FEATURES, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import type { VirtioDevice } from '../../src/virtio/device.ts';
import { type EventName, type Log, levelOf } from '../../src/virtio/log.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';

export const DISK_BYTES = 64 * 1024;
/** The features that the driver accepts by default. */
export const FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX;

/** Where a front end can connect, and what has been logged there. */
export interface Listening {
  readonly path: string;
  readonly lines: string[];
  connect(): RawFrontEnd;
}

export interface BackEnd extends Listening, AsyncDisposable {
  readonly server: ServedDevice;
  /** The events of everything that was logged, that front ends come and go too. */
  readonly events: (EventName | undefined)[];
}

/** Collects what is a problem: that front ends come and go is none. */
export function problemsTo(lines: string[]): Log {
  return (line, about) => {
    if (levelOf(about) !== 'info') lines.push(line);
  };
}

/** Serves any device; `lines` collects its log lines. */
export function serveDevice(device: VirtioDevice, options: { once?: boolean } = {}): BackEnd {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-vhost-user-'));
  const path = join(folder, 'device.sock');
  const lines: string[] = [];
  const events: (EventName | undefined)[] = [];
  const problems = problemsTo(lines);
  const log: Log = (line, about) => {
    events.push(about?.event);
    problems(line, about);
  };
  const server = new LoopServer(device, UnixListener.listen(path), { log, ...options });
  return {
    path,
    server,
    lines,
    events,
    connect: () => RawFrontEnd.connect(path),
    async [Symbol.asyncDispose]() {
      await server.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** A disk with `pattern` on it, and its device. */
export function makeDisk(store: BlockStore = arrayStore(pattern(DISK_BYTES)), options: BlockDeviceOptions = {}) {
  return new BlockDevice(store, { queues: 4, ...options });
}

export function serveDisk(store?: BlockStore, options?: BlockDeviceOptions): BackEnd {
  return serveDevice(makeDisk(store, options));
}

/** GET_FEATURES to SET_FEATURES: what comes before memory and rings. */
export async function negotiate(front: RawFrontEnd, features = FEATURES): Promise<void> {
  await front.askU64({ request: Request.GET_FEATURES });
  await front.askU64({ request: Request.GET_PROTOCOL_FEATURES });
  front.send(setU64(Request.SET_PROTOCOL_FEATURES, PROTOCOL_FEATURES));
  front.send({ request: Request.SET_OWNER });
  front.send(setU64(Request.SET_FEATURES, features | F_PROTOCOL_FEATURES));
}

/** A connected front end whose ring runs. */
export interface Attached extends Disposable {
  readonly front: RawFrontEnd;
  readonly ring: RawRing;
}

/** Connects, negotiates, shares the guest's memory and starts a ring in it. */
export async function attach(backEnd: Listening, guest: RawGuest, features = FEATURES): Promise<Attached> {
  const front = backEnd.connect();
  const ring = guest.ring(0, features);
  await negotiate(front, features);
  await front.settle(setMemTable([guest.region]), ...ring.start());
  return { front, ring, [Symbol.dispose]: () => front[Symbol.dispose]() };
}

/** How many descriptors this process has open. */
export function openDescriptors(): number {
  return descriptorKinds().length;
}

/** What they are, as in `socket` or `/dev/null`. */
export function descriptorKinds(): string[] {
  const kinds = readdirSync('/proc/self/fd').map((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`).replace(/:\[\d+\]$/, '');
    } catch {
      return 'the folder itself, which is closed now';
    }
  });
  return kinds.sort();
}

/** How many pieces of this process's memory are shared files. */
export function sharedMappings(): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('raw-guest')).length;
}

/** A disk whose reads wait for `release`. */
export interface GatedDisk {
  readonly store: BlockStore;
  /** Reads that wait. */
  readonly waiting: number;
  /** Lets every waiting read finish. */
  release(): void;
}

export function gatedDisk(): GatedDisk {
  const inner = arrayStore(pattern(DISK_BYTES));
  let gates: (() => void)[] = [];
  return {
    store: {
      ...inner,
      async read(offset, into) {
        await new Promise<void>((resolve) => gates.push(resolve));
        return inner.read(offset, into);
      },
    },
    get waiting() {
      return gates.length;
    },
    release() {
      const open = gates;
      gates = [];
      for (const resolve of open) resolve();
    },
  };
}
