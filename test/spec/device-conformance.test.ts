// Every device here is held to what any device must do; and the suite is held to find the ones that do not.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import { ConsoleDevice } from '../../src/devices/console/console-device.ts';
import { EVENT } from '../../src/devices/console/spec.ts';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { RngDevice } from '../../src/devices/rng/rng-device.ts';
import { VsockDevice } from '../../src/devices/vsock/vsock-device.ts';
import { VsockHost } from '../../src/ports/vsock-host.ts';
import { blockRequest, encodeReadable } from '../../src/testing/block-request.ts';
import type { UsedChain } from '../../src/testing/chain-driver.ts';
import { type ConformingQueue, deviceConformance } from '../../src/testing/device-conformance.ts';
import type { DescriptorChain } from '../../src/virtio/descriptor-chain.ts';
import type { VirtioDevice } from '../../src/virtio/device.ts';
import type { DeviceQueue } from '../../src/virtio/device-queue.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';
import { controlBytes, say } from '../reference/console-guest.ts';
import { frameOf, headerOf, RecordingPort } from '../reference/net-guest.ts';
import { packetOf } from '../reference/vsock-guest.ts';

const SIZE = 64 * 1024;
const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const blkQueue: ConformingQueue<BlockDevice> = {
  request: () => ({ readable: [encodeReadable(blockRequest.read(3, 512))], writable: [512, 1] }),
  check: ({ written, bytes }) => {
    assert.equal(written, 513);
    assert.deepEqual(bytes, Uint8Array.of(...pattern(SIZE).subarray(3 * 512, 4 * 512), 0));
  },
};

function slowly(store: BlockStore): BlockStore {
  return { sizeBytes: store.sizeBytes, read: (offset, into) => later().then(() => store.read(offset, into)) };
}

for (const [name, store] of Object.entries({
  'blk, a store that answers at once': () => arrayStore(pattern(SIZE)),
  'blk, a store that answers later': () => slowly(arrayStore(pattern(SIZE))),
}))
  deviceConformance(name, { open: () => new BlockDevice(store(), { queues: 2 }), queues: [blkQueue, blkQueue] });

const rngQueue: ConformingQueue<RngDevice> = {
  request: () => ({ writable: [32] }),
  check: ({ written }) => assert.equal(written, 32),
};
deviceConformance('rng', { open: () => new RngDevice(), queues: [rngQueue] });
deviceConformance('rng, a limit that is never reached', {
  open: () => new RngDevice(undefined, { bytesPerSecond: 1 << 30 }),
  queues: [rngQueue],
});
deviceConformance('rng, a limit that every request waits for', {
  open: () => new RngDevice(undefined, { bytesPerSecond: 1000, burstSeconds: 0.001 }),
  queues: [{ request: rngQueue.request, check: (used) => assert.equal(used.written, 1) }],
});
deviceConformance('rng, a limit and a slow source', {
  open: () =>
    new RngDevice((bytes) => later().then(() => bytes.fill(1)), { bytesPerSecond: 1 << 16, burstSeconds: 0.01 }),
  queues: [{ request: rngQueue.request }],
});
deviceConformance('rng, a slow source', {
  open: () => new RngDevice((bytes) => later().then(() => bytes.fill(1))),
  queues: [rngQueue],
});

const consoleQueues: readonly ConformingQueue<ConsoleDevice>[] = [
  {
    request: () => ({ writable: [16] }),
    check: ({ written }: UsedChain) => assert.ok(written > 0 && written <= 16),
    provoke: (device) => device.push('input'),
  },
  {
    request: () => ({ readable: [new TextEncoder().encode('output')] }),
    check: ({ written }) => assert.equal(written, 0),
  },
];
deviceConformance('console', { open: () => new ConsoleDevice({ output: () => {} }), queues: consoleQueues });
deviceConformance('console, a slow sink', { open: () => new ConsoleDevice({ output: later }), queues: consoleQueues });

/** Makes the device tell the driver something of port 1: that its other end opened or closed. */
function provokeControl(device: ConsoleDevice): void {
  say(device, 0, EVENT.DEVICE_READY, 1);
  say(device, 1, EVENT.PORT_READY, 1);
  const port = device.ports[1];
  port?.setOpen(!port.isOpen);
}

/** Two consoles and two serial ports, with everything a driver may have. */
deviceConformance('console with ports', {
  open: () =>
    new ConsoleDevice({
      output: () => {},
      size: { cols: 80, rows: 25 },
      ports: [{ name: 'shell', isConsole: true, output: later }, { name: 'agent' }, {}],
      maxPorts: 4,
    }),
  queues: [
    ...consoleQueues,
    {
      request: () => ({ writable: [64] }),
      check: ({ written }) => assert.ok(written >= 8 && written < 64),
      provoke: provokeControl,
    },
    {
      request: () => ({ readable: [controlBytes(0, EVENT.DEVICE_READY, 1)] }),
      check: ({ written }) => assert.equal(written, 0),
    },
    ...[1, 2, 3].flatMap((id): readonly ConformingQueue<ConsoleDevice>[] => [
      {
        ...(consoleQueues[0] as ConformingQueue<ConsoleDevice>),
        provoke: (device) => {
          for (const event of [EVENT.PORT_READY, EVENT.PORT_OPEN]) say(device, id, event, 1);
          return device.ports[id]?.push('input');
        },
      },
      consoleQueues[1] as ConformingQueue<ConsoleDevice>,
    ]),
  ],
});

/** A frame that fits a buffer of 64 bytes. */
const FRAME = frameOf(42);
const portOf = new WeakMap<NetDevice, RecordingPort>();
const netQueues: readonly ConformingQueue<NetDevice>[] = [
  {
    request: () => ({ writable: [128] }),
    check: ({ bytes, written }: UsedChain) =>
      assert.deepEqual(bytes.subarray(0, written), Uint8Array.of(...headerOf({ numBuffers: 1 }), ...FRAME)),
    provoke: (device) => portOf.get(device)?.onFrame?.(FRAME),
  },
  { request: () => ({ readable: [headerOf({}), FRAME] }), check: ({ written }) => assert.equal(written, 0) },
  {
    request: () => ({ readable: [Uint8Array.of(0, 0, 1)], writable: [1] }),
    check: ({ written }) => assert.equal(written, 1),
  },
];
deviceConformance('net', {
  open: () => {
    const port = new RecordingPort();
    const device = new NetDevice({ port });
    portOf.set(device, port);
    return device;
  },
  queues: netQueues,
});

const vsockQueues: readonly ConformingQueue<VsockDevice>[] = [
  {
    request: () => ({ writable: [64] }),
    check: ({ written }: UsedChain) => assert.ok(written >= 44),
    // A connection of the host's, which nobody answers: REQUEST, then RST.
    provoke: (device) =>
      hostOf
        .get(device)
        ?.connect(9)
        .then(undefined, () => {}),
  },
  { request: () => ({ readable: [packetOf({ op: 3 })] }), check: ({ written }) => assert.equal(written, 0) },
  {
    request: () => ({ writable: [8] }),
    check: ({ written }) => assert.equal(written, 4),
    provoke: (device) => device.transportReset(),
  },
];
const hostOf = new WeakMap<VsockDevice, VsockHost>();
deviceConformance('vsock', {
  open: () => {
    const port = new VsockHost();
    const device = new VsockDevice({ cid: 3, port });
    hostOf.set(device, port);
    return device;
  },
  queues: vsockQueues,
});

/** Copies what it reads to where it may write. Everything else is for the devices that go wrong. */
class EchoDevice implements VirtioDevice {
  readonly type = 42;
  readonly features = 0n;
  readonly queueSizes = [64];
  config = {
    bytes: new Uint8Array(4),
    write: (offset: number, bytes: Uint8Array): boolean => this.write(offset, bytes),
  };

  write(offset: number, bytes: Uint8Array): boolean {
    if (offset + bytes.length > this.config.bytes.length) return false;
    this.config.bytes.set(bytes, offset);
    return true;
  }

  process(_index: number, queue: DeviceQueue): void {
    queue.drain((chain) => this.serve(chain, queue));
  }

  serve(chain: DescriptorChain, queue: DeviceQueue): void {
    const bytes = new Uint8Array(chain.readable.totalBytes);
    chain.readable.copyTo(bytes);
    queue.markUsed(chain, chain.writable.copyFrom(bytes));
  }

  reset(): void {
    this.config.bytes.fill(0);
  }
}

/** Holds every buffer, and uses one on request. */
class HoldingDevice extends EchoDevice {
  readonly #held: DescriptorChain[] = [];
  #queue: DeviceQueue | undefined;

  override process(_index: number, queue: DeviceQueue): void {
    this.#queue = queue;
    for (let chain = queue.take(); chain !== undefined; chain = queue.take()) this.#held.push(chain);
  }

  say(): void {
    const chain = this.#held.shift();
    if (chain === undefined) return;
    this.serve(chain, this.#queue as DeviceQueue);
    this.#queue?.publish();
  }

  queueStopping(): void {
    for (const chain of this.#held.splice(0).toReversed()) this.#queue?.untake(chain);
  }
}

const echoQueue: ConformingQueue<VirtioDevice> = {
  request: () => ({ readable: [Uint8Array.of(1, 2, 3, 4)], writable: [2, 8] }),
  check: ({ written, bytes }) => assert.deepEqual([written, ...bytes.subarray(0, 4)], [4, 1, 2, 3, 4]),
};
deviceConformance('echo', { open: () => new EchoDevice(), queues: [echoQueue] });
deviceConformance('a device that holds every buffer', {
  open: () => new HoldingDevice(),
  queues: [{ ...echoQueue, provoke: (device) => later().then(() => device.say()) }],
});

test('regression: a device that keeps a request fails with a line, and does not keep the process', async () => {
  const bodies = new Map<string, () => Promise<void>>();
  const open = (): VirtioDevice => Object.assign(new EchoDevice(), { serve() {} });
  const test = (name: string, body: () => Promise<void>): unknown => bodies.set(name, body);
  deviceConformance('it', { open, queues: [echoQueue], limitMs: 200, test });
  const body = bodies.get('it: every request comes back where there are several at a time');
  await assert.rejects(async () => body?.(), /the device did not answer in time: queue 0: 12 not back/);
});

suite('the suite finds a device that', () => {
  /** Runs the suite over a device, and returns the sentences that it does not keep. */
  async function broken(open: () => VirtioDevice): Promise<string[]> {
    const bodies = new Map<string, () => Promise<void>>();
    deviceConformance('bad', { open, queues: [echoQueue], test: (name, body) => bodies.set(name, body) });
    const found: string[] = [];
    for (const [name, body] of bodies) await body().catch(() => found.push(name.replace('bad: ', '')));
    return found;
  }

  const bad = (change: (device: EchoDevice) => void) => (): VirtioDevice => {
    const device = new EchoDevice();
    change(device);
    return device;
  };

  const misdeeds: { readonly [what: string]: readonly [() => VirtioDevice, RegExp] } = {
    'is none': [bad((device) => Object.assign(device, { features: 1n << 30n })), /members of a VirtioDevice/],
    'takes the first piece for all': [
      bad((device) => {
        device.serve = (chain, queue) => {
          const { readable, writable } = chain;
          const bytes = readable.count === 0 ? new Uint8Array() : readable.view(0);
          queue.markUsed(chain, writable.copyFrom(bytes));
        };
      }),
      /cut at every byte/,
    ],
    'stumbles over a chain of no bytes': [
      bad((device) => {
        const { serve } = device;
        device.serve = (chain, queue) => {
          assert.ok(chain.readable.totalBytes > 0 || chain.writable.totalBytes > 0);
          serve.call(device, chain, queue);
        };
      }),
      /a chain of no bytes/,
    ],
    'says that it wrote more than there is room for': [
      bad((device) => {
        device.serve = (chain, queue) => queue.markUsed(chain, 4);
      }),
      /bytes to read only/,
    ],
    'writes to memory after it gave it back': [
      bad((device) => {
        const { serve } = device;
        device.serve = (chain, queue) => {
          const piece = chain.writable.count > 0 ? chain.writable.view(0) : undefined;
          serve.call(device, chain, queue);
          setImmediate(() => piece?.fill(0x5a));
        };
      }),
      /after a stop nothing touches memory/,
    ],
    'keeps what the last driver chose': [bad((device) => Object.assign(device, { reset: undefined })), /§2.1 a reset/],
    'has a configuration space that grows': [
      bad((device) => {
        device.write = (offset, bytes) => {
          const before = device.config.bytes;
          device.config.bytes = new Uint8Array(offset + bytes.length + 1);
          device.config.bytes.set(before.subarray(0, offset));
          return true;
        };
      }),
      /§2.5 the configuration space keeps its length/,
    ],
  };
  for (const [what, [open, sentence]] of Object.entries(misdeeds)) {
    test(what, async () => {
      const found = await broken(open);
      assert.ok(
        found.some((name) => sentence.test(name)),
        found.join('\n'),
      );
    });
  }
});
