// SpreadHost and ThreadHost: which host gets which call, and when a call resolves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  CallTarget,
  DeviceEvents,
  DeviceHost,
  DirtyLogPart,
  QueueSetup,
  QueueStop,
  SharedRegion,
} from '../transports/queue/queue-host.ts';
import { refreshAll, SpreadHost } from './spread-host.ts';
import { answerHostCall, type HostCall, ThreadHost, type ThreadMethods } from './thread-host.ts';

const setup: QueueSetup = {
  size: 16,
  base: 3,
  features: 1n << 32n,
  descriptorArea: 0,
  driverArea: 256,
  deviceArea: 512,
  kickFd: 5,
  call: undefined,
  errFd: 7,
};
const regions: SharedRegion[] = [{ id: 1, fd: 9, fileOffset: 0, blockBytes: 4096, guestAddress: 0, sizeBytes: 4096 }];
const device = { type: 2, features: 0n, queueSizes: [16, 16, 16] };

/** Records the calls it gets, and answers them at `answer`. */
class FakeHost implements DeviceHost, ThreadMethods {
  readonly device = device;
  events: DeviceEvents | undefined;
  readonly asked: unknown[][] = [];
  readonly #answers: (() => void)[] = [];
  problem: Error | undefined;

  /** Answers all open calls. */
  async answer(): Promise<void> {
    for (const answer of this.#answers.splice(0)) answer();
    await settled();
  }

  #later<T>(value: T, ...asked: unknown[]): Promise<T> {
    this.asked.push(asked);
    return new Promise((resolve, reject) => {
      this.#answers.push(() => (this.problem === undefined ? resolve(value) : reject(this.problem)));
    });
  }

  setMemory(...args: [readonly SharedRegion[], DirtyLogPart?]): Promise<void> {
    return this.#later(undefined, 'setMemory', ...args);
  }

  start(index: number, queue: QueueSetup): Promise<void> {
    return this.#later(undefined, 'start', index, queue);
  }

  stop(index: number): Promise<QueueStop> {
    return this.#later({ base: 100 + index, broken: index === 2 }, 'stop', index);
  }

  setCall(index: number, call: CallTarget | undefined): Promise<void> {
    return this.#later(undefined, 'setCall', index, call);
  }

  activate(features: bigint): Promise<void> {
    return this.#later(undefined, 'activate', features);
  }

  writeConfig(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.#later(offset === 32, 'writeConfig', offset, bytes);
  }

  reset(): Promise<void> {
    return this.#later(undefined, 'reset');
  }

  refresh(): Promise<void> {
    return this.#later(undefined, 'refresh');
  }

  finish(): Promise<void> {
    return this.#later(undefined, 'finish');
  }
}

/** Resolves when all pending microtasks have run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Collects the result of a promise, or the message of its error. */
function watch(promise: Promise<unknown>): { ends: unknown[] } {
  const ends: unknown[] = [];
  promise.then(
    (value) => ends.push(value),
    (problem: Error) => ends.push(problem.message),
  );
  return { ends };
}

test('a queue belongs to one host, always the same; the queues are spread evenly', async () => {
  const hosts = [new FakeHost(), new FakeHost(), new FakeHost()] as const;
  const spread = new SpreadHost(hosts);
  const bases: Promise<QueueStop>[] = [];
  for (let index = 0; index < 7; index++) {
    void spread.start(index, setup);
    void spread.setCall(index, { fd: 8 });
    bases.push(spread.stop(index));
  }
  for (const [i, host] of hosts.entries()) {
    const mine = [0, 1, 2, 3, 4, 5, 6].filter((index) => index % 3 === i);
    assert.deepEqual(
      host.asked,
      mine.flatMap((index) => [
        ['start', index, setup],
        ['setCall', index, { fd: 8 }],
        ['stop', index],
      ]),
    );
    await host.answer();
  }
  const stops = await Promise.all(bases);
  assert.deepEqual(
    stops.map(({ base }) => base),
    [100, 101, 102, 103, 104, 105, 106],
  );
});

test('queues for which threadOf returns one number are on one host', () => {
  const hosts = [new FakeHost(), new FakeHost()] as const;
  const spread = new SpreadHost(hosts, (queue) => queue >> 1);
  for (let index = 0; index < 6; index++) void spread.stop(index);
  assert.deepEqual(
    hosts.map(({ asked }) => asked.map(([, index]) => index)),
    [
      [0, 1, 4, 5],
      [2, 3],
    ],
  );
});

test('setMemory resolves when every host has mapped it, and rejects if one has not', async () => {
  const hosts = [new FakeHost(), new FakeHost(), new FakeHost()] as const;
  const spread = new SpreadHost(hosts);
  const first = watch(spread.setMemory(regions));
  await hosts[2].answer();
  await hosts[0].answer();
  assert.deepEqual(first.ends, []);
  await hosts[1].answer();
  assert.deepEqual(first.ends, [undefined]);

  hosts[1].problem = new Error('no room');
  const second = watch(spread.setMemory(regions));
  await hosts[1].answer();
  assert.deepEqual(second.ends, [], 'the other hosts may still be mapping');
  for (const host of hosts) await host.answer();
  assert.deepEqual(second.ends, ['no room']);
});

test('regression: a write to the configuration space is acknowledged when every thread has applied it', async () => {
  const hosts = [new FakeHost(), new FakeHost()] as const;
  const spread = new SpreadHost(hosts);
  for (const [offset, isAllowed] of [
    [32, true],
    [0, false],
  ] as const) {
    const write = watch(spread.writeConfig(offset, Uint8Array.of(1)));
    await hosts[0].answer();
    assert.deepEqual(write.ends, [], 'another thread would still serve as before');
    await hosts[1].answer();
    assert.deepEqual(write.ends, [isAllowed]);
  }
});

test('calls about the device go to every host', async () => {
  const hosts = [new FakeHost(), new FakeHost()] as const;
  const spread = new SpreadHost(hosts);
  for (const step of [() => spread.activate(5n), () => spread.reset()]) {
    const { ends } = watch(step());
    await hosts[0].answer();
    assert.deepEqual(ends, []);
    await hosts[1].answer();
    assert.deepEqual(ends, [undefined]);
  }
  for (const { asked } of hosts) assert.deepEqual(asked, [['activate', 5n], ['reset']]);
});

/** A ThreadHost and the host it is a proxy of. Messages between them are cloned, as between threads. */
function pair(): { remote: ThreadHost; host: FakeHost } {
  const host = new FakeHost();
  const remote: ThreadHost = new ThreadHost(device, async (call) => {
    remote.answered(structuredClone(await answerHostCall(host, structuredClone(call))));
  });
  return { remote, host };
}

const dirtyLog = { id: 7, fd: 9, fileOffset: 0, sizeBytes: 4096 };

test('a ThreadHost forwards every call and its answer', async () => {
  const { remote, host } = pair();
  const asked = [
    remote.setMemory(regions, dirtyLog),
    remote.start(2, setup),
    remote.stop(2),
    remote.stop(3),
    remote.setCall(2, undefined),
    remote.activate(1n << 40n),
    remote.writeConfig(32, Uint8Array.of(1)),
    remote.writeConfig(33, Uint8Array.of(1)),
    remote.reset(),
    remote.refresh(),
    remote.finish(),
  ].map((promise) => watch(promise));
  assert.deepEqual(host.asked, [
    ['setMemory', regions, dirtyLog],
    ['start', 2, setup],
    ['stop', 2],
    ['stop', 3],
    ['setCall', 2, undefined],
    ['activate', 1n << 40n],
    ['writeConfig', 32, Uint8Array.of(1)],
    ['writeConfig', 33, Uint8Array.of(1)],
    ['reset'],
    ['refresh'],
    ['finish'],
  ]);
  await settled();
  assert.deepEqual(
    asked.flatMap(({ ends }) => ends),
    [],
    'nothing is answered yet',
  );
  await host.answer();
  const stopped = (base: number, broken: boolean): QueueStop => ({ base, broken });
  const nothing = undefined;
  assert.deepEqual(
    asked.flatMap(({ ends }) => ends),
    [
      nothing,
      nothing,
      stopped(102, true),
      stopped(103, false),
      nothing,
      nothing,
      true,
      false,
      nothing,
      nothing,
      nothing,
    ],
  );
});

test('an error keeps its message across threads', async () => {
  const { remote, host } = pair();
  host.problem = new Error('mmap: ENOMEM: too much');
  const asked = [watch(remote.setMemory(regions)), watch(remote.start(0, setup))];
  await settled();
  await host.answer();
  assert.deepEqual(
    asked.flatMap(({ ends }) => ends),
    ['mmap: ENOMEM: too much', 'mmap: ENOMEM: too much'],
  );
});

test('an answer settles the call with its id, in any order, and only once', async () => {
  const calls: HostCall[] = [];
  const remote = new ThreadHost(device, (call) => calls.push(call));
  const bases: number[] = [];
  for (let index = 0; index < 3; index++) void remote.stop(index).then(({ base }) => bases.push(base));
  const [first, second, third] = calls.map(({ id }) => id) as [number, number, number];
  for (const id of [third, first, second, third, 999]) {
    remote.answered({ id, result: { base: 10 * id, broken: false } });
    await settled();
  }
  assert.deepEqual(bases, [10 * third, 10 * first, 10 * second]);
});

test('regression: the driver is notified of a new size when every thread has it', async () => {
  const hosts = [new FakeHost(), new FakeHost()] as const;
  let notified = 0;
  const refreshed = watch(refreshAll(hosts, () => ++notified));
  for (const [i, host] of hosts.entries()) {
    assert.deepEqual(host.asked, [['refresh']]);
    assert.equal(notified, 0, `${i} threads have it`);
    await host.answer();
  }
  assert.deepEqual([refreshed.ends, notified], [[1], 1]);
});
