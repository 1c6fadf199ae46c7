// An EventLoop inside Node's loop: timers, promises and descriptors side by side.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventually, patience } from '../testing/patience.ts';
import { EventFd } from './event-fd.ts';
import { EventLoop } from './event-loop.ts';
import { rideNodeLoop } from './node-loop.ts';

test('an event is handled while Node goes on with its own', async () => {
  using loop = new EventLoop();
  using eventFd = EventFd.create();
  const order: string[] = [];
  const signalled = new Promise<void>((resolve) => {
    loop.watch(eventFd.fd, {
      readable: () => {
        eventFd.clear();
        order.push('event');
        resolve();
      },
    });
  });
  using _ride = rideNodeLoop(loop);
  setTimeout(() => {
    order.push('timer');
    eventFd.signal();
  }, 5);
  await signalled;
  assert.deepEqual(order, ['timer', 'event']);
});

test('an event from before the loop was attached is handled', async () => {
  using loop = new EventLoop();
  using eventFd = EventFd.create();
  eventFd.signal();
  using _ride = rideNodeLoop(loop);
  await new Promise<void>((resolve) => {
    loop.watch(eventFd.fd, {
      readable: () => {
        eventFd.clear();
        resolve();
      },
    });
  });
});

test('a promise that an event settles goes on at once, not with the next thing that happens', async () => {
  using loop = new EventLoop();
  using eventFd = EventFd.create();
  let settle = (): void => {};
  loop.watch(eventFd.fd, {
    readable: () => {
      eventFd.clear();
      settle();
    },
  });
  using _ride = rideNodeLoop(loop);
  for (let i = 0; i < 50; i++) {
    const settled = new Promise<string>((resolve) => {
      settle = () => resolve('settled');
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(resolve, patience(2000), 'late');
    });
    eventFd.signal();
    assert.equal(await Promise.race([settled.then((first) => first), late]), 'settled');
    clearTimeout(timer);
  }
});

test('tasks that are left over are run without a further event', async () => {
  using loop = new EventLoop();
  using eventFd = EventFd.create();
  using _ride = rideNodeLoop(loop);
  let rounds = 0;
  await new Promise<void>((resolve) => {
    const task = (): void => {
      if (++rounds < 100) loop.soon(task);
      else resolve();
    };
    loop.watch(eventFd.fd, {
      readable: () => {
        eventFd.clear();
        loop.soon(task);
      },
    });
    eventFd.signal();
  });
  assert.equal(rounds, 100);
});

test('regression: a task that is given outside of any event is run', async () => {
  using loop = new EventLoop();
  using _ride = rideNodeLoop(loop);
  await Promise.resolve();
  const order: string[] = [];
  for (let i = 0; i < 3; i++) {
    await new Promise<void>((resolve) => {
      loop.soon(() => {
        order.push('task');
        resolve();
      });
      order.push('given');
    });
  }
  assert.deepEqual(order, ['given', 'task', 'given', 'task', 'given', 'task']);
});

test('timers go on beside a descriptor that is always readable', async () => {
  using loop = new EventLoop();
  using eventFd = EventFd.create();
  let calls = 0;
  loop.watch(eventFd.fd, { readable: () => calls++ });
  eventFd.signal();
  using _ride = rideNodeLoop(loop);
  await eventually('it is readable again and again', () => calls > 1);
  // Time: a timer of Node's is what is tested.
  await new Promise((resolve) => setTimeout(resolve, 0));
});

test('once disposed nothing is handled any more, even when disposed within a handler', async () => {
  using loop = new EventLoop();
  using eventFd = EventFd.create();
  let calls = 0;
  const ride = rideNodeLoop(loop);
  loop.watch(eventFd.fd, {
    readable: () => {
      calls++;
      ride[Symbol.dispose]();
      ride[Symbol.dispose]();
    },
  });
  eventFd.signal();
  await eventually('the handler', () => calls > 0);
  // Time: that nothing happens can only be observed for a while.
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(calls, 1);
});

test('attaching many times leaves neither descriptors nor memory behind', async () => {
  const holdings = (): number[] => [
    readdirSync('/proc/self/fd').length,
    readFileSync('/proc/self/maps', 'utf8').split('\n').length,
  ];
  const ride = async (): Promise<void> => {
    using loop = new EventLoop();
    using eventFd = EventFd.create();
    using _ride = rideNodeLoop(loop);
    const signalled = new Promise<void>((resolve) => {
      loop.watch(eventFd.fd, {
        readable: () => {
          eventFd.clear();
          resolve();
        },
      });
    });
    eventFd.signal();
    await signalled;
  };
  for (let i = 0; i < 20; i++) await ride();
  // Time: handles close some turns later.
  await new Promise((resolve) => setTimeout(resolve, patience(20)));
  const [fds, maps] = holdings() as [number, number];
  for (let i = 0; i < 200; i++) await ride();
  await eventually('the handles are closed', () => holdings()[0] === fds);
  const [, mapsAfter] = holdings() as [number, number];
  // The collector maps and unmaps memory too; a leak would show two hundredfold.
  assert.ok(mapsAfter < maps + 100, `${maps} mappings before, ${mapsAfter} after`);
});

/** Runs a module beside this file in a process of its own, bounded in time. */
function run(body: string): { status: number | null; signal: string | null; stdout: string; stderr: string } {
  const source = `
    import { EventFd } from './event-fd.ts';
    import { EventLoop } from './event-loop.ts';
    import { rideNodeLoop } from './node-loop.ts';
    const loop = new EventLoop();
    const eventFd = EventFd.create();
    const ride = rideNodeLoop(loop);
    ${body}`.replaceAll("'./", `'${new URL('.', import.meta.url).href}`);
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', source];
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: patience(10_000) });
}

test('an attached loop keeps its process alive until it is disposed', () => {
  const { status, signal, stdout } = run(`
    loop.watch(eventFd.fd, { readable: () => {
      eventFd.clear();
      console.log('signalled');
      ride[Symbol.dispose]();
    } });
    // Time: this timer alone would not keep the process alive, however late it fires.
    setTimeout(() => eventFd.signal(), 50).unref();
  `);
  assert.deepEqual({ status, signal, stdout }, { status: 0, signal: null, stdout: 'signalled\n' });
});

test('regression: what a handler throws is an uncaught exception like any other, and not an abort', () => {
  const { status, signal, stderr } = run(`
    loop.watch(eventFd.fd, { readable: () => {
      eventFd.clear();
      throw new Error('a mistake of a handler');
    } });
    eventFd.signal();
  `);
  assert.match(stderr, /a mistake of a handler/);
  assert.deepEqual({ status, signal }, { status: 1, signal: null });
});

test('regression: a task that throws keeps none of the others waiting, where uncaught exceptions are caught', () => {
  const { status, stdout } = run(`
    process.on('uncaughtException', ({ message }) => console.log(message));
    for (const name of ['first', 'second']) loop.soon(() => { throw new Error(name + ' mistake'); });
    loop.soon(() => {
      console.log('third');
      ride[Symbol.dispose]();
    });
  `);
  assert.deepEqual({ status, stdout }, { status: 0, stdout: 'first mistake\nsecond mistake\nthird\n' });
});
