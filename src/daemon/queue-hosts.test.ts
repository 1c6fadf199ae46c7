// Queues spread over hosts, and a host on another thread: who is asked for what, and when an answer is one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QueueHost, QueueSetup, SharedRegion } from '../transports/queue/queue-host.ts';
import {
  type HostAnswer,
  type HostCall,
  type HostMethod,
  RemoteQueueHost,
  serveHostCall,
} from './remote-queue-host.ts';
import { SpreadQueueHost } from './spread-queue-host.ts';

const setup: QueueSetup = {
  size: 16,
  base: 3,
  features: 1n << 32n,
  descriptorTable: 0,
  availableRing: 256,
  usedRing: 512,
  kickFd: 5,
  callFd: undefined,
  errFd: 7,
};
const regions: SharedRegion[] = [{ fd: 9, mapBytes: 4096, mmapOffset: 0, guestAddress: 0, sizeBytes: 4096 }];

/** Keeps a record of what it is asked, and answers when it is let. */
class FakeHost implements QueueHost {
  readonly asked: unknown[][] = [];
  readonly #answers: (() => void)[] = [];
  problem: Error | undefined;

  /** Gives the answers that are due. */
  answer(): void {
    for (const answer of this.#answers.splice(0)) answer();
  }

  setMemory(regions: readonly SharedRegion[], done: (problem?: Error) => void): void {
    this.asked.push(['setMemory', regions]);
    this.#answers.push(() => done(this.problem));
  }

  start(index: number, setup: QueueSetup, done: (problem?: Error) => void): void {
    this.asked.push(['start', index, setup]);
    this.#answers.push(() => done(this.problem));
  }

  stop(index: number, done: (base: number, broken: boolean) => void): void {
    this.asked.push(['stop', index]);
    this.#answers.push(() => done(100 + index, index === 2));
  }

  setCall(index: number, callFd: number | undefined, done: () => void): void {
    this.asked.push(['setCall', index, callFd]);
    this.#answers.push(done);
  }

  activate(features: bigint): void {
    this.asked.push(['activate', features]);
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    this.asked.push(['writeConfig', offset, bytes]);
    return offset === 32;
  }

  reset(): void {
    this.asked.push(['reset']);
  }
}

test('a queue belongs to one host, always the same; the queues are spread evenly', () => {
  const hosts = [new FakeHost(), new FakeHost(), new FakeHost()];
  const spread = new SpreadQueueHost(hosts);
  const bases: number[] = [];
  for (let index = 0; index < 7; index++) {
    spread.start(index, setup, () => {});
    spread.setCall(index, 8, () => {});
    spread.stop(index, (base) => bases.push(base));
  }
  for (const [i, host] of hosts.entries()) {
    const mine = [0, 1, 2, 3, 4, 5, 6].filter((index) => index % 3 === i);
    assert.deepEqual(
      host.asked,
      mine.flatMap((index) => [
        ['start', index, setup],
        ['setCall', index, 8],
        ['stop', index],
      ]),
    );
    host.answer();
  }
  assert.deepEqual(bases.sort(), [100, 101, 102, 103, 104, 105, 106]);
});

test('memory is set when every host has it, and not if one of them has not', () => {
  const hosts = [new FakeHost(), new FakeHost(), new FakeHost()] as const;
  const spread = new SpreadQueueHost(hosts);
  const done: (Error | undefined)[] = [];
  spread.setMemory(regions, (problem) => done.push(problem));
  hosts[2].answer();
  hosts[0].answer();
  assert.equal(done.length, 0);
  hosts[1].answer();
  assert.equal(done.length, 1);
  assert.equal(done[0], undefined);

  hosts[1].problem = new Error('no room');
  spread.setMemory(regions, (problem) => done.push(problem));
  for (const host of hosts) host.answer();
  assert.deepEqual(done, [undefined, hosts[1].problem]);
});

test('what concerns the device reaches every host; the first one says whether a write was allowed', () => {
  const hosts = [new FakeHost(), new FakeHost()];
  const spread = new SpreadQueueHost(hosts);
  spread.activate(5n);
  assert.equal(spread.writeConfig(32, Uint8Array.of(1)), true);
  assert.equal(spread.writeConfig(0, Uint8Array.of(1)), false);
  spread.reset();
  for (const { asked } of hosts)
    assert.deepEqual(asked, [
      ['activate', 5n],
      ['writeConfig', 32, Uint8Array.of(1)],
      ['writeConfig', 0, Uint8Array.of(1)],
      ['reset'],
    ]);
});

/** A remote host and the host it stands for, with a line between them that copies, as one between threads does. */
function pair(): { remote: RemoteQueueHost; host: FakeHost; calls: HostCall[] } {
  const host = new FakeHost();
  const calls: HostCall[] = [];
  const remote: RemoteQueueHost = new RemoteQueueHost((call) => {
    calls.push(call);
    const copy = structuredClone(call);
    if (copy.method === 'refresh' || copy.method === 'finish') return;
    serveHostCall(host, copy.method, copy, (answer: HostAnswer) => remote.answered(structuredClone(answer)));
  });
  return { remote, host, calls };
}

test('a host on another thread is asked the same and gives the same answers', () => {
  const { remote, host } = pair();
  const answers: unknown[] = [];
  remote.setMemory(regions, (problem) => answers.push(['setMemory', problem]));
  remote.start(2, setup, (problem) => answers.push(['start', problem]));
  remote.stop(2, (base, broken) => answers.push(['stop', base, broken]));
  remote.stop(3, (base, broken) => answers.push(['stop', base, broken]));
  remote.setCall(2, undefined, () => answers.push(['setCall']));
  remote.activate(1n << 40n);
  assert.equal(remote.writeConfig(32, Uint8Array.of(1)), true);
  remote.reset();
  assert.deepEqual(host.asked, [
    ['setMemory', regions],
    ['start', 2, setup],
    ['stop', 2],
    ['stop', 3],
    ['setCall', 2, undefined],
    ['activate', 1n << 40n],
    ['writeConfig', 32, Uint8Array.of(1)],
    ['reset'],
  ]);
  assert.deepEqual(answers, [], 'nobody has answered yet');
  host.answer();
  assert.deepEqual(answers, [
    ['setMemory', undefined],
    ['start', undefined],
    ['stop', 102, true],
    ['stop', 103, false],
    ['setCall'],
  ]);
});

test('a problem keeps its words on the way', () => {
  const { remote, host } = pair();
  host.problem = new Error('mmap: ENOMEM: too much');
  const problems: (string | undefined)[] = [];
  remote.setMemory(regions, (problem) => problems.push(problem?.message));
  remote.start(0, setup, (problem) => problems.push(problem?.message));
  host.answer();
  assert.deepEqual(problems, ['mmap: ENOMEM: too much', 'mmap: ENOMEM: too much']);
});

test('answers find who asked, in whatever order they come, and only once', () => {
  const calls: HostCall[] = [];
  const remote = new RemoteQueueHost((call) => calls.push(call));
  const answers: number[] = [];
  for (let index = 0; index < 3; index++) remote.stop(index, (base) => answers.push(base));
  const [first, second, third] = calls.map(({ id }) => id) as [number, number, number];
  for (const id of [third, first, second, third, 999]) remote.answered({ id, base: 10 * id });
  assert.deepEqual(answers, [10 * third, 10 * first, 10 * second]);
});

test('what wants no answer asks for none', () => {
  const { remote, calls } = pair();
  remote.reset();
  remote.activate(0n);
  remote.refresh();
  assert.deepEqual(
    calls.map(({ id, method }) => [id, method]),
    [
      [0, 'reset'],
      [0, 'activate'],
      [0, 'refresh'],
    ] satisfies [number, HostMethod | 'refresh'][],
  );
});
