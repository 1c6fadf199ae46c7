// bench: which processors a measurement takes, and who has to keep off them.
import { readdirSync } from 'node:fs';
import { pinThread } from '../src/sys/cpu.ts';
import { allowedProcessors, coreOf } from './processor-use.ts';

/** The back end's processor first, then those on other cores. Interrupts and other people's work tend to be on the first one. */
export function chooseProcessors(): [backEnd: number, ...others: number[]] {
  const all = allowedProcessors();
  const backEndCpu = all.at(-1) ?? 0;
  const siblings = coreOf(backEndCpu);
  return [backEndCpu, ...all.filter((cpu) => !siblings.includes(cpu))];
}

/** Keeps this process's threads, compilers and collectors among them, on one processor: they would be measured too. */
export function keepProcessOn(cpu: number | undefined): void {
  if (cpu === undefined) return;
  for (const thread of readdirSync('/proc/self/task')) pinThread(Number(thread), cpu);
}
