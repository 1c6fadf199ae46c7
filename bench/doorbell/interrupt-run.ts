// bench/doorbell: one measurement of an interrupt path: this thread writes, the guest's handler counts.
import { COUNTS } from '../../src/testing/interrupt-payload.ts';
import { quantile } from '../statistics.ts';
import { type InterruptPath, READY } from './interrupt-paths.ts';
import type { RingThread } from './ring-thread.ts';

/** The result of one measurement. */
export interface InterruptRun {
  /** µs of one interrupt: the median where each was timed, else the mean. */
  readonly us: number;
  /** Handler runs for a thousand writes. */
  readonly handledPerThousand: number;
}

/** Far longer than any interrupt takes on a machine that still works. */
const INTERRUPT_TIMEOUT_MS = 2000;
/** No more are measured one by one after this long: they are slow where the guest shares its processor. */
const ENOUGH_MS = 60;
const INTERRUPTS_MIN = 5;
const LOOK_MS = 1;

/** Sends up to `count` interrupts. Throws Error where one does not arrive. */
export async function runInterrupts(thread: RingThread, path: InterruptPath, count: number): Promise<InterruptRun> {
  if (path.kind === 'circle') {
    const { elapsedMs } = await thread.run(count);
    return { us: (1000 * elapsedMs) / count, handledPerThousand: 1000 };
  }
  const { words } = thread.guest;
  const before = Atomics.load(words, READY / 4);
  await thread.go(0, path.guest);
  // An interrupt that comes while the 8259 is set up is lost.
  while (Atomics.load(words, READY / 4) === before) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  return path.kind === 'handler' ? oneByOne(thread, path, count) : backToBack(thread, path, count);
}

/** Waits without a system call, so that nothing but the interrupt is measured. */
function waitUntil(condition: () => boolean): void {
  const startedMs = performance.now();
  while (!condition())
    if (performance.now() - startedMs > INTERRUPT_TIMEOUT_MS) throw new Error('an interrupt never arrived');
}

function oneByOne({ bell, guest }: RingThread, { route }: InterruptPath, count: number): InterruptRun {
  const { words } = guest;
  const at = COUNTS[route] / 4;
  const us: number[] = [];
  const endMs = performance.now() + ENOUGH_MS;
  for (let i = 0; i < count && (i < INTERRUPTS_MIN || performance.now() < endMs); i++) {
    const before = Atomics.load(words, at);
    const startedMs = performance.now();
    bell.signal();
    waitUntil(() => Atomics.load(words, at) !== before);
    us.push(1000 * (performance.now() - startedMs));
  }
  return {
    us: quantile(
      us.toSorted((a, b) => a - b),
      0.5,
    ),
    handledPerThousand: 1000,
  };
}

function backToBack({ bell, guest }: RingThread, { route }: InterruptPath, count: number): InterruptRun {
  const { words } = guest;
  const at = COUNTS[route] / 4;
  const before = Atomics.load(words, at);
  const startedMs = performance.now();
  for (let i = 0; i < count; i++) bell.signal();
  const elapsedMs = performance.now() - startedMs;
  waitUntil(() => Atomics.load(words, at) !== before);
  const handled = (Atomics.load(words, at) - before) >>> 0;
  return { us: (1000 * elapsedMs) / count, handledPerThousand: (1000 * handled) / count };
}
