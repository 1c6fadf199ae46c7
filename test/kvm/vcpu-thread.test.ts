// A vCPU on a thread of its own: paused, resumed, stopped, failing, and never in the way of the end.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kvm } from '../../src/kvm/kvm.ts';
import { SpareThread } from '../../src/kvm/spare-thread.ts';
import { VcpuThread } from '../../src/kvm/vcpu-thread.ts';
import { eventually, patience, Silence } from '../../src/testing/patience.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { otherThreadsTurn } from './kernel-turn.ts';
import { kvmTest } from './kvm-case.ts';
import type { SpinData } from './spin-program.ts';

const program = new URL('./spin-program.ts', import.meta.url);
const COUNTER = 0x3000;

const counting = (): Payload => new Payload().label('again').incrementMemory(COUNTER).jump('again');
const sleeping = (): Payload => new Payload().label('again').hlt().jump('again');
const ringing = (): Payload => new Payload().label('again').out(1).jump('again');

async function withThread(
  kvm: Kvm,
  payload: Payload,
  data: SpinData,
  body: (thread: VcpuThread, counter: () => number) => Promise<void>,
): Promise<void> {
  using guest = new PayloadGuest(kvm, payload, { irqchip: true });
  guest.start();
  const thread = await VcpuThread.start(guest.vcpu, { program, data });
  try {
    await body(thread, () => guest.words[COUNTER / 4] as number);
  } finally {
    await thread.stop().catch(() => {});
  }
}

kvmTest('a paused guest runs no instruction, and goes on when resumed', async (kvm) => {
  await withThread(kvm, counting(), { exits: 1 }, async (thread, counter) => {
    await eventually('it counts', () => counter() > 0);
    await thread.pause();
    const before = counter();
    await otherThreadsTurn();
    assert.equal(counter(), before);
    thread.resume();
    await eventually('it goes on counting', () => counter() > before);
  });
});

kvmTest('pausing and resuming many times in quick succession never misses a pause', async (kvm) => {
  await withThread(kvm, counting(), { exits: 1 }, async (thread, counter) => {
    for (let round = 0; round < 300; round++) {
      await thread.pause();
      const before = counter();
      for (let i = 0; i < 20; i++) assert.equal(counter(), before, `round ${round}`);
      thread.resume();
      if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  });
});

kvmTest('a pause that is taken back at once does not wait for ever', async (kvm) => {
  await withThread(kvm, sleeping(), { exits: 1 }, async (thread) => {
    for (let round = 0; round < 50; round++) {
      const paused = thread.pause();
      thread.resume();
      await paused;
    }
  });
});

kvmTest('a guest that sleeps in the kernel is stopped', async (kvm) => {
  await withThread(kvm, sleeping(), { exits: 1 }, async (thread) => {
    assert.equal(await thread.stop(), 0);
    assert.equal(await thread.ended, 0);
    await thread.pause();
  });
});

kvmTest('a guest that exits all the time is stopped', async (kvm) => {
  const payload = new Payload().label('again').out(1).incrementMemory(COUNTER).jump('again');
  await withThread(kvm, payload, { exits: Number.POSITIVE_INFINITY }, async (thread, counter) => {
    await eventually('it has exited', () => counter() > 3);
    assert.ok(((await thread.stop()) as number) > 3);
  });
});

kvmTest('a program that has enough ends the thread, and its result arrives', async (kvm) => {
  await withThread(kvm, ringing(), { exits: 1234 }, async (thread) => {
    assert.equal(await thread.ended, 1234);
  });
});

kvmTest('what a program throws rejects: start, if it was before the guest ran, otherwise ended', async (kvm) => {
  const early = withThread(kvm, ringing(), { exits: 1, failure: 'at the start' }, async () => {});
  await assert.rejects(early, /no start/);
  await withThread(kvm, ringing(), { exits: 1, failure: 'at an exit' }, async (thread) => {
    await assert.rejects(thread.ended, /no exit/);
  });
});

kvmTest(
  'a thread that began before its vCPU was made runs it, and one whose program is not there says so',
  async (kvm) => {
    const spare = new SpareThread(program);
    const lame = new SpareThread(new URL('./no-such-program.ts', import.meta.url));
    await otherThreadsTurn();
    using guest = new PayloadGuest(kvm, ringing(), { irqchip: true });
    guest.start();
    await assert.rejects(VcpuThread.start(guest.vcpu, { program: lame }), /no-such-program/);
    const thread = await VcpuThread.start(guest.vcpu, { program: spare, data: { exits: 7 } satisfies SpinData });
    assert.equal(await thread.ended, 7);
  },
);

kvmTest('regression: a thread that ended by itself a moment ago can be stopped', async (kvm) => {
  const threads = (): Set<string> => new Set(readdirSync('/proc/self/task'));
  const before = threads();
  await withThread(kvm, ringing(), { exits: 1 }, async (thread) => {
    const begun = [...threads()].filter((thread) => !before.has(thread));
    // Without a turn of this loop: the thread ends meanwhile, and its messages wait.
    const silence = new Silence();
    const isLeft = (): boolean => begun.every((thread) => existsSync(`/proc/self/task/${thread}`));
    while (begun.length > 0 && isLeft()) assert.ok(silence.ms < patience(20_000), 'it does not end');
    assert.equal(await thread.stop(), 1);
  });
});

kvmTest('an idle guest uses no processor', async (kvm) => {
  await withThread(kvm, sleeping(), { exits: 1 }, async () => {
    // A guest that is not idle has no such while; one that is may be kept from some by what else this process does.
    await eventually('a while with at most 5 of 50 hundredths of a second', async () => {
      const before = cpuTicks();
      // Time: what is measured is the processor time of a while in which nothing happens.
      await new Promise((resolve) => setTimeout(resolve, 500));
      return cpuTicks() - before <= 5;
    });
  });
});

/** Processor time of this process, in hundredths of a second. */
function cpuTicks(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

kvmTest('a process that ends does not wait for a guest that sleeps', () => {
  const argv = ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'asleep.ts')];
  const { status, signal, stderr } = spawnSync(process.execPath, argv, {
    timeout: patience(20_000),
    killSignal: 'SIGKILL',
  });
  assert.deepEqual([status, signal, `${stderr}`], [7, null, '']);
});

kvmTest('regression: the loop of exits does not stay behind in the code of a lesser compiler', () => {
  const EXITS = 60_000;
  const argv = [
    '--disable-warning=ExperimentalWarning',
    '--trace-opt',
    join(import.meta.dirname, 'ringing.ts'),
    `${EXITS}`,
  ];
  const { stdout } = spawnSync(process.execPath, argv, {
    timeout: patience(60_000),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  assert.ok(stdout.includes(`\n${EXITS} exits\n`), stdout.slice(-500));
  const compiled = stdout.split('\n').filter((line) => line.includes('<JSFunction runSlice '));
  assert.match(compiled.join('\n'), /completed compiling .*target TURBOFAN/);
});
