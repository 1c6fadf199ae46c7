// cli: makes and runs the machine of `belfry run`. A module of its own, which run.ts loads while threads start.
import { softwareKvm } from '../../doctor/kvm.ts';
import { Kvm } from '../kvm/kvm.ts';
import type { SpareThread } from '../kvm/spare-thread.ts';
import { checkBoot, Machine } from '../vmm/machine.ts';
import type { MachineExit } from '../vmm/platform.ts';
import { TerminalConsole } from '../vmm/terminal-console.ts';
import { BoundedOutput } from './bounded-output.ts';
import { ConsoleKeys } from './console-keys.ts';
import { softwareWarning, watchForIdleness } from './idle-guest.ts';
import { millis } from './quantities.ts';
import type { RunDisks } from './run-disks.ts';
import { endOnSignals, neverBlock } from './run-end.ts';
import type { DiskFlags, DiskWord, RunFlags } from './run-flags.ts';

/** Runs until the guest ends; returns how it ended. `threads` are for its processors. */
export async function runMachine(
  flags: RunFlags,
  disks: readonly DiskWord[],
  threads: readonly SpareThread[],
): Promise<MachineExit> {
  const { kernel, initrd, append, cpus, memory, verbose } = flags;
  const boot = { kernel, initrd, commandLine: append };
  checkBoot(boot, memory);
  await using opened = await openDisks(disks, flags);
  using kvm = Kvm.open();
  const { stdin, stdout: output, stderr } = process;
  for (const stream of [output, stderr]) neverBlock(stream);
  const software = softwareKvm();
  if (software !== undefined) log(softwareWarning(software));
  using keys = new ConsoleKeys(stdin, (text) => void output.write(text));
  const console = new TerminalConsole({ input: keys.input, output, onLeave: () => stop() });
  await using machine = new Machine(kvm, { cpus, memoryBytes: memory, console, threads });
  const stop = endOnSignals(machine, console);
  const movable = await opened?.plug(machine, log);
  if (movable !== undefined) process.on('SIGUSR1', () => movable.toggle());
  if (stdin.isTTY) log('Ctrl-A x ends the guest, Ctrl-A h shows the keys');
  await machine.boot(boot);
  using _watch = watchForIdleness(machine, { log, software });
  const startMs = performance.now() - performance.nodeTiming.bootstrapComplete;
  if (verbose) log(`first instruction of the guest ${millis(startMs)} after Node`);
  const exit = await machine.ended;
  if (verbose) log(`the guest ended (${exit.how}) after ${machine.exits} exits to devices`);
  return exit;
}

/** Loads its modules only where there are disks. */
async function openDisks(words: readonly DiskWord[], flags: DiskFlags): Promise<RunDisks | undefined> {
  if (words.length === 0 && flags.handOver === undefined) return undefined;
  const { RunDisks } = await import('./run-disks.ts');
  return await RunDisks.open(words, flags);
}

const notices = new BoundedOutput(process.stderr);

function log(line: string): void {
  // A terminal is in raw mode by now, so that a line needs its own carriage return.
  notices.line(`belfry: ${line}${process.stdin.isTTY ? '\r' : ''}`);
}
