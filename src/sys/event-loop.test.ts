// The event loop: every source of work is served, and nothing is lost between polling and sleeping.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventFd } from './event-fd.ts';
import { EventLoop } from './event-loop.ts';
import type { Pollable, PollPolicy } from './pollable.ts';
import { TimerFd } from './timer-fd.ts';
import { UnixSocket } from './unix-socket.ts';

/** A loop whose `run` ends by itself after two seconds, so that a hang is a failure. */
class BoundedLoop extends EventLoop {
  readonly #timer = new TimerFd();
  timedOut = false;

  constructor(policy?: PollPolicy) {
    super(policy);
    this.#timer.set(2000);
    this.watch(this.#timer.fd, {
      readable: () => {
        this.timedOut = true;
        this.stop();
      },
    });
  }

  override async run(): Promise<void> {
    await super.run();
    assert.ok(!this.timedOut, 'the loop did not come to its end');
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#timer[Symbol.dispose]();
  }
}

/** A policy that polls for so long, and records what is reported to it. */
class FixedPoll implements PollPolicy {
  readonly #pollNs: number;
  readonly waits: { ns: number; foundByPolling: boolean }[] = [];
  asked = 0;

  constructor(pollNs: number) {
    this.#pollNs = pollNs;
  }

  pollNs(): number {
    this.asked++;
    return this.#pollNs;
  }

  waited(ns: number, foundByPolling: boolean): void {
    this.waits.push({ ns, foundByPolling });
  }
}

/** A pollable with so many pieces of work, and a log of what the loop called. */
class FakePollable implements Pollable {
  work = 0;
  /** Work that arrives between the last poll and `rearm`. */
  late = 0;
  served = 0;
  onServed: () => void = () => {};
  readonly log: string[] = [];

  poll(): boolean {
    if (this.work === 0) return false;
    this.work--;
    this.served++;
    this.log.push('served');
    this.onServed();
    return true;
  }

  suppress(): void {
    this.log.push('suppress');
  }

  isSettled = true;

  rearm(): boolean {
    this.log.push('rearm');
    this.work += this.late;
    this.late = 0;
    return this.work > 0;
  }
}

test('a watch is called while its descriptor is readable, until it is disposed', () => {
  using loop = new EventLoop();
  using eventFd = EventFd.create();
  let calls = 0;
  const watch = loop.watch(eventFd.fd, { readable: () => calls++ });
  loop.turn(0);
  assert.equal(calls, 0);
  eventFd.signal();
  for (let i = 1; i <= 3; i++) {
    loop.turn(0);
    assert.equal(calls, i);
  }
  watch[Symbol.dispose]();
  watch[Symbol.dispose]();
  loop.turn(0);
  assert.equal(calls, 3);
});

test('a watch that is disposed while its event is pending is not called any more', () => {
  using loop = new EventLoop();
  using first = EventFd.create();
  using second = EventFd.create();
  let calls = 0;
  const watches = [first, second].map((eventFd) =>
    loop.watch(eventFd.fd, {
      readable: () => {
        calls++;
        for (const watch of watches) watch[Symbol.dispose]();
      },
    }),
  );
  first.signal();
  second.signal();
  loop.turn(0);
  assert.equal(calls, 1);
});

test('a descriptor number that comes back is a new watch', () => {
  using loop = new EventLoop();
  const calls: string[] = [];
  const before = EventFd.create();
  const watch = loop.watch(before.fd, { readable: () => calls.push('before') });
  before.signal();
  watch[Symbol.dispose]();
  before[Symbol.dispose]();
  using after = EventFd.create();
  assert.equal(after.fd, before.fd);
  loop.watch(after.fd, { readable: () => calls.push('after') });
  watch[Symbol.dispose]();
  after.signal();
  loop.turn(0);
  assert.deepEqual(calls, ['after']);
});

test('tasks run after the current events and before the loop sleeps', async () => {
  using loop = new BoundedLoop();
  using eventFd = EventFd.create();
  const order: string[] = [];
  loop.watch(eventFd.fd, {
    readable: () => {
      eventFd.clear();
      order.push('event');
      loop.soon(() => {
        order.push('task');
        // No event will come: a loop that slept now would sleep for ever.
        loop.soon(() => {
          order.push('next task');
          loop.stop();
        });
      });
    },
  });
  eventFd.signal();
  await loop.run();
  assert.deepEqual(order, ['event', 'task', 'next task']);
});

test('a task that renews itself lets every event pass', async () => {
  using loop = new BoundedLoop();
  using eventFd = EventFd.create();
  let rounds = 0;
  const task = (): void => {
    if (++rounds === 10) eventFd.signal();
    loop.soon(task);
  };
  loop.soon(task);
  loop.watch(eventFd.fd, { readable: () => loop.stop() });
  await loop.run();
  assert.ok(rounds < 20, `${rounds} rounds until the event was seen`);
});

test('a turn returns whether tasks are left', () => {
  using loop = new EventLoop();
  assert.equal(loop.turn(0), false);
  loop.soon(() => {});
  assert.equal(loop.turn(0), false);
  loop.soon(() => loop.soon(() => {}));
  // It must not wait for events while there are tasks.
  assert.equal(loop.turn(-1), true);
  assert.equal(loop.turn(-1), false);
});

test('a descriptor that is always readable starves neither another nor a task', async () => {
  using loop = new BoundedLoop();
  using storm = EventFd.create();
  using other = EventFd.create();
  storm.signal();
  let storms = 0;
  let tasks = 0;
  loop.watch(storm.fd, {
    readable: () => {
      if (++storms === 5) other.signal();
      loop.soon(() => tasks++);
    },
  });
  loop.watch(other.fd, { readable: () => loop.stop() });
  await loop.run();
  assert.ok(storms < 10);
  assert.ok(tasks >= 5);
});

test('run ends with stop, and can be run again', async () => {
  using loop = new BoundedLoop();
  using eventFd = EventFd.create();
  let rounds = 0;
  loop.watch(eventFd.fd, {
    readable: () => {
      eventFd.clear();
      rounds++;
      loop.stop();
    },
  });
  for (let i = 1; i <= 3; i++) {
    eventFd.signal();
    await loop.run();
    assert.equal(rounds, i);
  }
});

test('run rejects with what a watch throws, and the loop can be run again', async () => {
  using loop = new BoundedLoop();
  using eventFd = EventFd.create();
  loop.watch(eventFd.fd, {
    readable: () => {
      eventFd.clear();
      throw new Error('a mistake');
    },
  });
  eventFd.signal();
  await assert.rejects(loop.run(), /a mistake/);
  loop.soon(() => loop.stop());
  await loop.run();
});

test('regression: a task that throws keeps none of the others from being run', () => {
  using loop = new BoundedLoop();
  const ran: number[] = [];
  loop.soon(() => ran.push(1));
  loop.soon(() => {
    throw new Error('a mistake of a task');
  });
  loop.soon(() => {
    ran.push(2);
    loop.soon(() => ran.push(4));
  });
  loop.soon(() => ran.push(3));
  assert.throws(() => loop.turn(0), /a mistake of a task/);
  assert.deepEqual(ran, [1]);
  assert.equal(loop.turn(0), true, 'what a task adds is for the next turn');
  assert.deepEqual(ran, [1, 2, 3]);
  assert.equal(loop.turn(0), false);
  assert.deepEqual(ran, [1, 2, 3, 4]);
});

test('the descriptor of a loop is readable when a turn has something to do', async () => {
  using inner = new EventLoop();
  using outer = new BoundedLoop();
  using eventFd = EventFd.create();
  let calls = 0;
  inner.watch(eventFd.fd, {
    readable: () => {
      eventFd.clear();
      calls++;
      outer.stop();
    },
  });
  outer.watch(inner.fd, { readable: () => inner.turn(0) });
  eventFd.signal();
  await outer.run();
  assert.equal(calls, 1);
});

test('polling: suppress, serve what comes, rearm, and serve what came meanwhile before sleeping', async () => {
  const policy = new FixedPoll(200_000);
  using loop = new BoundedLoop(policy);
  using eventFd = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = 2;
  pollable.late = 1;
  pollable.onServed = () => {
    // This work arrived just before rearm: without another poll it would wait for a notification that never comes.
    if (pollable.served === 3) eventFd.signal();
  };
  loop.watch(eventFd.fd, { readable: () => loop.stop(), pollable });
  await loop.run();
  assert.deepEqual(pollable.log, ['suppress', 'served', 'served', 'rearm', 'served']);
});

test('polling goes on while there is work, and for its time after the last', async () => {
  const policy = new FixedPoll(1_000_000);
  using loop = new BoundedLoop(policy);
  using eventFd = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = 1;
  let left = 50;
  pollable.onServed = () => {
    if (left-- > 0) pollable.work = 1;
    else eventFd.signal();
  };
  loop.watch(eventFd.fd, { readable: () => loop.stop(), pollable });
  await loop.run();
  assert.equal(pollable.log.filter((what) => what === 'suppress').length, 1);
  assert.equal(pollable.served, 51);
});

test('two pollables with work without end are served in turn, and neither keeps an event waiting', async () => {
  using loop = new BoundedLoop(new FixedPoll(10_000_000));
  using eventFd = EventFd.create();
  using silent = EventFd.create();
  const pollables = [new FakePollable(), new FakePollable()] as const;
  for (const pollable of pollables) {
    pollable.work = Number.POSITIVE_INFINITY;
    pollable.onServed = () => {
      if (pollable.served === 100) eventFd.signal();
    };
  }
  loop.watch(eventFd.fd, { readable: () => loop.stop(), pollable: pollables[0] });
  loop.watch(silent.fd, { readable: () => {}, pollable: pollables[1] });
  await loop.run();
  const [first, second] = pollables.map(({ served }) => served) as [number, number];
  assert.ok(Math.abs(first - second) <= 1, `${first} and ${second}`);
  assert.ok(first < 200, `${first} served before the event was seen`);
});

test('an event that comes while there is nothing to poll for is seen before the polling ends', async () => {
  using loop = new BoundedLoop(new FixedPoll(60_000_000_000));
  using eventFd = EventFd.create();
  using timer = new TimerFd();
  timer.set(5);
  loop.watch(timer.fd, { readable: () => loop.stop() });
  loop.watch(eventFd.fd, { readable: () => {}, pollable: new FakePollable() });
  await loop.run();
});

test('tasks of a pollable are run while it is polled, and after it', async () => {
  using loop = new BoundedLoop(new FixedPoll(100_000));
  using eventFd = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = 40;
  let tasks = 0;
  pollable.onServed = () => loop.soon(() => ++tasks === 40 && loop.stop());
  loop.watch(eventFd.fd, { readable: () => {}, pollable });
  await loop.run();
  assert.equal(tasks, 40);
});

test('a pollable whose watch was disposed by an event is not looked at again', async () => {
  using loop = new BoundedLoop(new FixedPoll(50_000_000));
  using eventFd = EventFd.create();
  using end = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = Number.POSITIVE_INFINITY;
  pollable.onServed = () => {
    assert.notEqual(pollable.log.at(-2), 'disposed');
    end.signal();
  };
  const watch = loop.watch(eventFd.fd, { readable: () => {}, pollable });
  loop.watch(end.fd, {
    readable: () => {
      end.clear();
      watch[Symbol.dispose]();
      pollable.log.push('disposed');
      loop.soon(() => loop.soon(() => loop.stop()));
    },
  });
  await loop.run();
  assert.equal(pollable.log.at(-1), 'disposed');
});

test('a loop without anything to poll for does not ask for how long, and sleeps', async () => {
  const policy = new FixedPoll(1_000_000);
  using loop = new BoundedLoop(policy);
  // Sleeping uses no processor time, however long it is: polling for as long would use as much as it takes.
  const before = process.threadCpuUsage();
  const startedMs = performance.now();
  loop.timer(200, () => loop.stop());
  await loop.run();
  const { user, system } = process.threadCpuUsage(before);
  const tookMs = performance.now() - startedMs;
  assert.equal(policy.asked, 0);
  assert.ok((user + system) / 1000 < tookMs / 2, `${user + system} µs of processor time in ${tookMs} ms of sleep`);
});

test('regression: what was served before the loop slept is no part of the wait that its policy learns from', async () => {
  const policy = new FixedPoll(1_000_000);
  using loop = new BoundedLoop(policy);
  using eventFd = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = 200;
  let lastServedMs = 0;
  pollable.onServed = () => {
    lastServedMs = performance.now();
  };
  loop.watch(eventFd.fd, { pollable });
  let wokenMs = 0;
  loop.timer(50, () => {
    wokenMs = performance.now();
    loop.stop();
  });
  await loop.run();
  const slept = policy.waits.at(-1);
  assert.equal(slept?.foundByPolling, false);
  assert.ok(slept.ns > 0 && slept.ns / 1e6 <= wokenMs - lastServedMs, `${slept.ns} ns in ${wokenMs - lastServedMs} ms`);
});

test('regression: a loop that had tasks left, and so could not sleep, reports no wait', async () => {
  const policy = new FixedPoll(1_000_000);
  using loop = new BoundedLoop(policy);
  using eventFd = EventFd.create();
  loop.watch(eventFd.fd, { pollable: new FakePollable() });
  let rounds = 0;
  const task = (): void => (++rounds < 100 ? loop.soon(task) : loop.stop());
  loop.soon(task);
  await loop.run();
  assert.deepEqual(policy.waits, []);
});

test('polling that found work reports how long it had to look for it', async () => {
  const policy = new FixedPoll(50_000_000);
  using loop = new BoundedLoop(policy);
  using eventFd = EventFd.create();
  const pollable = new FakePollable();
  // Work that the hundredth poll finds.
  let looks = 0;
  Object.defineProperty(pollable, 'work', { get: () => (++looks === 100 ? 1 : 0), set: () => {} });
  pollable.onServed = () => loop.stop();
  loop.watch(eventFd.fd, { pollable });
  await loop.run();
  assert.equal(policy.waits.length, 1);
  assert.ok(policy.waits[0]?.foundByPolling && policy.waits[0].ns > 0);
});

test('while the kernel works for a pollable the loop sleeps at once, and polls again when it is done', async () => {
  using loop = new BoundedLoop(new FixedPoll(10_000_000));
  using eventFd = EventFd.create();
  const pollable = Object.assign(new FakePollable(), { awaitsKernel: true });
  eventFd.signal();
  loop.watch(eventFd.fd, {
    readable: () => {
      eventFd.clear();
      assert.deepEqual(pollable.log, [], 'it was not polled');
      pollable.awaitsKernel = false;
      pollable.work = 2;
      // The second one begins an operation of the kernel, which ends the polling; then it would sleep for ever.
      pollable.onServed = () => {
        if (pollable.served < 2) return;
        pollable.awaitsKernel = true;
        loop.soon(() => loop.stop());
      };
    },
    pollable,
  });
  await loop.run();
  assert.deepEqual(pollable.log, ['suppress', 'served', 'served', 'rearm']);
});

test('regression: a task that is asked for many times in a turn is run once', () => {
  using loop = new EventLoop();
  let runs = 0;
  const task = (): void => {
    runs++;
  };
  for (let i = 0; i < 1000; i++) loop.soon(task);
  assert.equal(loop.turn(0), false);
  assert.equal(runs, 1);
  // A task that adds itself again and is also added by others runs once a turn.
  const renewed = (): void => {
    runs++;
    loop.soon(renewed);
  };
  loop.soon(renewed);
  for (let turns = 1; turns <= 20; turns++) {
    for (let i = 0; i < 10; i++) loop.soon(renewed);
    loop.turn(0);
    assert.equal(runs, 1 + turns);
  }
});

test('a chain of promises that a handler began has come to its end before the loop sleeps', async () => {
  for (const policy of [undefined, new FixedPoll(100_000)]) {
    using loop = new BoundedLoop(policy);
    using eventFd = EventFd.create();
    using other = EventFd.create();
    if (policy !== undefined) loop.watch(other.fd, { pollable: new FakePollable() });
    const chain = async (): Promise<void> => {
      for (let i = 0; i < 1000; i++) await undefined;
      // No other event comes: a loop that slept now would sleep for ever.
      loop.stop();
    };
    loop.watch(eventFd.fd, {
      readable: () => {
        eventFd.clear();
        void chain();
      },
    });
    eventFd.signal();
    await loop.run();
  }
});

test('promises go on while a pollable has work without end', async () => {
  using loop = new BoundedLoop(new FixedPoll(10_000_000));
  using eventFd = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = Number.POSITIVE_INFINITY;
  pollable.isSettled = false;
  let isBegun = false;
  const chain = async (): Promise<void> => {
    for (let i = 0; i < 100; i++) await undefined;
    loop.stop();
  };
  pollable.onServed = () => {
    if (!isBegun) void chain();
    isBegun = true;
  };
  loop.watch(eventFd.fd, { pollable });
  await loop.run();
});

test('promises go on while a task renews itself', async () => {
  using loop = new BoundedLoop();
  const renewed = (): void => loop.soon(renewed);
  loop.soon(() => {
    void (async () => {
      for (let i = 0; i < 100; i++) await undefined;
      loop.stop();
    })();
  });
  loop.soon(renewed);
  await loop.run();
});

test('timers fire in the order in which they are due, once each, and not after they were disposed of', async () => {
  using loop = new BoundedLoop();
  const fired: string[] = [];
  loop.timer(30, () => {
    fired.push('third');
    loop.stop();
  });
  loop.timer(1, () => {
    fired.push('first');
    disposed[Symbol.dispose]();
  });
  loop.timer(10, () => fired.push('second'));
  const disposed = loop.timer(20, () => fired.push('never'));
  await loop.run();
  assert.deepEqual(fired, ['first', 'second', 'third']);
});

test('a timer may set another, and one that throws keeps none of the others waiting', async () => {
  using loop = new BoundedLoop();
  const fired: string[] = [];
  loop.timer(0, () => {
    fired.push('first');
    loop.timer(0, () => {
      fired.push('last');
      loop.stop();
    });
    throw new Error('a mistake of a timer');
  });
  loop.timer(0, () => fired.push('second'));
  await assert.rejects(loop.run(), /a mistake of a timer/);
  await loop.run();
  assert.deepEqual(fired, ['first', 'second', 'last']);
});

test('a descriptor is watched for output too, and for one alone', async () => {
  using loop = new BoundedLoop();
  const [ours, theirs] = UnixSocket.pair();
  const seen: string[] = [];
  const watch = loop.watch(ours.fd, {
    writable: () => {
      seen.push('writable');
      theirs.send(Uint8Array.of(1));
      watch[Symbol.dispose]();
      const reading = loop.watch(ours.fd, {
        readable: () => {
          seen.push('readable');
          reading[Symbol.dispose]();
          loop.stop();
        },
      });
    },
  });
  await loop.run();
  assert.deepEqual(seen, ['writable', 'readable']);
  for (const socket of [ours, theirs]) socket[Symbol.dispose]();
});

test('a watch for output alone is called when the other end is closed', async () => {
  using loop = new BoundedLoop();
  const [ours, theirs] = UnixSocket.pair();
  theirs[Symbol.dispose]();
  const watch = loop.watch(ours.fd, {
    writable: () => {
      watch[Symbol.dispose]();
      loop.stop();
    },
  });
  await loop.run();
  ours[Symbol.dispose]();
});
