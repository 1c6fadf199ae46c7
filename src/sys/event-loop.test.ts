// The loop of a device's thread: everybody gets a turn, and nothing is lost between polling and sleeping.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventFd } from './event-fd.ts';
import { EventLoop } from './event-loop.ts';
import type { Pollable, PollPolicy } from './pollable.ts';
import { TimerFd } from './timer-fd.ts';

/** A loop whose `run` ends by itself after two seconds: what would hang fails. */
class BoundedLoop extends EventLoop {
  readonly #timer = new TimerFd();
  timedOut = false;

  constructor(policy?: PollPolicy) {
    super(policy);
    this.#timer.set(2000);
    this.watch(this.#timer.fd, () => {
      this.timedOut = true;
      this.stop();
    });
  }

  override run(): void {
    super.run();
    assert.ok(!this.timedOut, 'the loop did not come to its end');
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#timer[Symbol.dispose]();
  }
}

/** Polls for so long, and remembers what it was told. */
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

/** So many pieces of work to be polled for, and a log of what the loop did. */
class FakePollable implements Pollable {
  work = 0;
  /** Comes between the last look and `rearm`. */
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

  rearm(): boolean {
    this.log.push('rearm');
    this.work += this.late;
    this.late = 0;
    return this.work > 0;
  }
}

test('a watch is called while its descriptor is readable, until it is disposed', () => {
  using loop = new EventLoop();
  using bell = EventFd.create();
  let calls = 0;
  const watch = loop.watch(bell.fd, () => calls++);
  loop.turn(0);
  assert.equal(calls, 0);
  bell.signal();
  for (let i = 1; i <= 3; i++) {
    loop.turn(0);
    assert.equal(calls, i);
  }
  watch[Symbol.dispose]();
  watch[Symbol.dispose]();
  loop.turn(0);
  assert.equal(calls, 3);
});

test('a watch that is disposed while its event is at hand is not called any more', () => {
  using loop = new EventLoop();
  using first = EventFd.create();
  using second = EventFd.create();
  let calls = 0;
  const watches = [first, second].map((bell) =>
    loop.watch(bell.fd, () => {
      calls++;
      for (const watch of watches) watch[Symbol.dispose]();
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
  const watch = loop.watch(before.fd, () => calls.push('before'));
  before.signal();
  watch[Symbol.dispose]();
  before[Symbol.dispose]();
  using after = EventFd.create();
  assert.equal(after.fd, before.fd);
  loop.watch(after.fd, () => calls.push('after'));
  watch[Symbol.dispose]();
  after.signal();
  loop.turn(0);
  assert.deepEqual(calls, ['after']);
});

test('tasks run after the events at hand and before the loop sleeps', () => {
  using loop = new BoundedLoop();
  using bell = EventFd.create();
  const order: string[] = [];
  loop.watch(bell.fd, () => {
    bell.clear();
    order.push('event');
    loop.afterBatch(() => {
      order.push('task');
      // There is no event to come: a loop that slept now would sleep for ever.
      loop.afterBatch(() => {
        order.push('next task');
        loop.stop();
      });
    });
  });
  bell.signal();
  loop.run();
  assert.deepEqual(order, ['event', 'task', 'next task']);
});

test('a task that renews itself lets every event pass', () => {
  using loop = new BoundedLoop();
  using bell = EventFd.create();
  let rounds = 0;
  const task = (): void => {
    if (++rounds === 10) bell.signal();
    loop.afterBatch(task);
  };
  loop.afterBatch(task);
  loop.watch(bell.fd, () => loop.stop());
  loop.run();
  assert.ok(rounds < 20, `${rounds} rounds until the event was seen`);
});

test('a turn tells whether tasks are left', () => {
  using loop = new EventLoop();
  assert.equal(loop.turn(0), false);
  loop.afterBatch(() => {});
  assert.equal(loop.turn(0), false);
  loop.afterBatch(() => loop.afterBatch(() => {}));
  // It must not wait for events while there are tasks.
  assert.equal(loop.turn(-1), true);
  assert.equal(loop.turn(-1), false);
});

test('a descriptor that is always readable starves neither another nor a task', () => {
  using loop = new BoundedLoop();
  using storm = EventFd.create();
  using other = EventFd.create();
  storm.signal();
  let storms = 0;
  let tasks = 0;
  loop.watch(storm.fd, () => {
    if (++storms === 5) other.signal();
    loop.afterBatch(() => tasks++);
  });
  loop.watch(other.fd, () => loop.stop());
  loop.run();
  assert.ok(storms < 10);
  assert.ok(tasks >= 5);
});

test('run ends with stop, and can be run again', () => {
  using loop = new BoundedLoop();
  using bell = EventFd.create();
  let rounds = 0;
  loop.watch(bell.fd, () => {
    bell.clear();
    rounds++;
    loop.stop();
  });
  for (let i = 1; i <= 3; i++) {
    bell.signal();
    loop.run();
    assert.equal(rounds, i);
  }
});

test('what a watch throws reaches who runs the loop, which can go on', () => {
  using loop = new BoundedLoop();
  using bell = EventFd.create();
  loop.watch(bell.fd, () => {
    bell.clear();
    throw new Error('a mistake');
  });
  bell.signal();
  assert.throws(() => loop.run(), /a mistake/);
  loop.afterBatch(() => loop.stop());
  loop.run();
});

test('regression: a task that throws keeps none of the others from being run', () => {
  using loop = new BoundedLoop();
  const ran: number[] = [];
  loop.afterBatch(() => ran.push(1));
  loop.afterBatch(() => {
    throw new Error('a mistake of a task');
  });
  loop.afterBatch(() => {
    ran.push(2);
    loop.afterBatch(() => ran.push(4));
  });
  loop.afterBatch(() => ran.push(3));
  assert.throws(() => loop.turn(0), /a mistake of a task/);
  assert.deepEqual(ran, [1]);
  assert.equal(loop.turn(0), true, 'what a task adds is for the next turn');
  assert.deepEqual(ran, [1, 2, 3]);
  assert.equal(loop.turn(0), false);
  assert.deepEqual(ran, [1, 2, 3, 4]);
});

test('the descriptor of a loop is readable when a turn has something to do', () => {
  using inner = new EventLoop();
  using outer = new BoundedLoop();
  using bell = EventFd.create();
  let calls = 0;
  inner.watch(bell.fd, () => {
    bell.clear();
    calls++;
    outer.stop();
  });
  outer.watch(inner.fd, () => inner.turn(0));
  bell.signal();
  outer.run();
  assert.equal(calls, 1);
});

test('polling: suppress, serve what comes, rearm, and serve what came meanwhile before sleeping', () => {
  const policy = new FixedPoll(200_000);
  using loop = new BoundedLoop(policy);
  using bell = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = 2;
  pollable.late = 1;
  pollable.onServed = () => {
    // What came at the last moment: without another look it would wait for a ring that nobody will give.
    if (pollable.served === 3) bell.signal();
  };
  loop.watch(bell.fd, () => loop.stop(), pollable);
  loop.run();
  assert.deepEqual(pollable.log, ['suppress', 'served', 'served', 'rearm', 'served']);
});

test('polling goes on while there is work, and for its time after the last', () => {
  const policy = new FixedPoll(1_000_000);
  using loop = new BoundedLoop(policy);
  using bell = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = 1;
  let left = 50;
  pollable.onServed = () => {
    if (left-- > 0) pollable.work = 1;
    else bell.signal();
  };
  loop.watch(bell.fd, () => loop.stop(), pollable);
  loop.run();
  assert.equal(pollable.log.filter((what) => what === 'suppress').length, 1);
  assert.equal(pollable.served, 51);
});

test('two pollables with work without end are served in turn, and neither keeps an event waiting', () => {
  using loop = new BoundedLoop(new FixedPoll(10_000_000));
  using bell = EventFd.create();
  using silent = EventFd.create();
  const pollables = [new FakePollable(), new FakePollable()] as const;
  for (const pollable of pollables) {
    pollable.work = Number.POSITIVE_INFINITY;
    pollable.onServed = () => {
      if (pollable.served === 100) bell.signal();
    };
  }
  loop.watch(bell.fd, () => loop.stop(), pollables[0]);
  loop.watch(silent.fd, () => {}, pollables[1]);
  loop.run();
  const [first, second] = pollables.map(({ served }) => served) as [number, number];
  assert.ok(Math.abs(first - second) <= 1, `${first} and ${second}`);
  assert.ok(first < 200, `${first} served before the event was seen`);
});

test('an event that comes while there is nothing to poll for is seen before the polling ends', () => {
  using loop = new BoundedLoop(new FixedPoll(60_000_000_000));
  using bell = EventFd.create();
  using timer = new TimerFd();
  timer.set(5);
  loop.watch(timer.fd, () => loop.stop());
  loop.watch(bell.fd, () => {}, new FakePollable());
  loop.run();
});

test('tasks of a pollable are run while it is polled, and after it', () => {
  using loop = new BoundedLoop(new FixedPoll(100_000));
  using bell = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = 40;
  let tasks = 0;
  pollable.onServed = () => loop.afterBatch(() => ++tasks === 40 && loop.stop());
  loop.watch(bell.fd, () => {}, pollable);
  loop.run();
  assert.equal(tasks, 40);
});

test('a pollable whose watch was disposed by an event is not looked at again', () => {
  using loop = new BoundedLoop(new FixedPoll(50_000_000));
  using bell = EventFd.create();
  using end = EventFd.create();
  const pollable = new FakePollable();
  pollable.work = Number.POSITIVE_INFINITY;
  pollable.onServed = () => {
    assert.notEqual(pollable.log.at(-2), 'disposed');
    end.signal();
  };
  const watch = loop.watch(bell.fd, () => {}, pollable);
  loop.watch(end.fd, () => {
    end.clear();
    watch[Symbol.dispose]();
    pollable.log.push('disposed');
    loop.afterBatch(() => loop.afterBatch(() => loop.stop()));
  });
  loop.run();
  assert.equal(pollable.log.at(-1), 'disposed');
});

test('a loop without anything to poll for does not ask for how long, and sleeps', () => {
  const policy = new FixedPoll(1_000_000);
  using loop = new BoundedLoop(policy);
  using timer = new TimerFd();
  timer.set(60);
  loop.watch(timer.fd, () => loop.stop());
  // Not the process's: V8 may be compiling beside us.
  const before = process.threadCpuUsage();
  loop.run();
  const { user, system } = process.threadCpuUsage(before);
  assert.equal(policy.asked, 0);
  assert.ok(user + system < 30_000, `${user + system} µs of processor time in 60 ms of sleep`);
});

test('the policy is told how long the loop waited, and whether polling found the work', () => {
  const policy = new FixedPoll(50_000_000);
  using loop = new BoundedLoop(policy);
  using bell = EventFd.create();
  using timer = new TimerFd();
  const pollable = new FakePollable();
  // Work that comes with the hundredth look; then nothing until the sleep ends.
  let looks = 0;
  Object.defineProperty(pollable, 'work', { get: () => (++looks === 100 ? 1 : 0), set: () => {} });
  pollable.onServed = () => timer.set(200);
  loop.watch(timer.fd, () => loop.stop());
  loop.watch(bell.fd, () => {}, pollable);
  loop.run();
  const [polled, slept] = policy.waits;
  assert.equal(policy.waits.length, 2);
  assert.ok(polled?.foundByPolling && polled.ns > 0, `${polled?.ns} ns`);
  assert.ok(!slept?.foundByPolling && slept !== undefined && slept.ns > polled.ns, `${slept?.ns} ns`);
});
