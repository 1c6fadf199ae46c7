// bench: chooses the processors of a measurement, and keeps other threads off them.
import { readdirSync } from 'node:fs';
import { pinThread } from '../src/sys/cpu.ts';
import { allowedProcessors, coreOf } from './processor-use.ts';

/** The back end's processor, then those on other cores. Interrupts and other work tend to be on the first processor. */
export function chooseProcessors(): [backEnd: number, ...others: number[]] {
  const all = allowedProcessors();
  const backEndCpu = all.at(-1) ?? 0;
  const siblings = coreOf(backEndCpu);
  return [backEndCpu, ...all.filter((cpu) => !siblings.includes(cpu))];
}

/** Pins this process's threads, compilers and collectors included, to one processor, so that they are not measured. */
export function keepProcessOn(cpu: number | undefined): void {
  if (cpu === undefined) return;
  for (const thread of readdirSync('/proc/self/task')) pinThread(Number(thread), cpu);
}
