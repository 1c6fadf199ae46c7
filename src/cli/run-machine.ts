// Upper floor: the machine of `belfry run`, from its terminal to its end. Its module takes a while to load: see run.ts.
import { softwareKvm } from '../../doctor/kvm.ts';
import { Kvm } from '../kvm/kvm.ts';
import type { SpareThread } from '../kvm/spare-thread.ts';
import { Machine } from '../vmm/machine.ts';
import type { MachineExit } from '../vmm/platform.ts';
import { TerminalConsole } from '../vmm/terminal-console.ts';
import { BoundedOutput } from './bounded-output.ts';
import { ConsoleKeys } from './console-keys.ts';
import { softwareWarning, watchForIdleness } from './idle-guest.ts';
import { millis } from './quantities.ts';
import { endOnSignals, neverBlock } from './run-end.ts';
import type { DiskFlags, DiskWord, RunFlags } from './run-flags.ts';

/** Runs until the guest ends. `threads` are for its processors. */
export async function runMachine(
  flags: RunFlags,
  disks: readonly DiskWord[],
  threads: readonly SpareThread[],
): Promise<MachineExit> {
  const { kernel, initrd, append, cpus, memory, verbose } = flags;
  using kvm = Kvm.open();
  const { stdin, stdout: output, stderr } = process;
  for (const stream of [output, stderr]) neverBlock(stream);
  const software = softwareKvm();
  if (software !== undefined) say(softwareWarning(software));
  using keys = new ConsoleKeys(stdin, (text) => void output.write(text));
  const console = new TerminalConsole({ input: keys.input, output, onLeave: () => stop() });
  await using machine = new Machine(kvm, { cpus, memoryBytes: memory, console, threads });
  const stop = endOnSignals(machine, console);
  if (disks.length > 0 || flags.handOver !== undefined) await plugDisks(disks, flags, machine);
  if (stdin.isTTY) say('Ctrl-A x ends the guest, Ctrl-A h shows the keys');
  await machine.boot({ kernel, initrd, commandLine: append });
  using _watch = watchForIdleness(machine, { say, software });
  const startMs = performance.now() - performance.nodeTiming.bootstrapComplete;
  if (verbose) say(`first instruction of the guest ${millis(startMs)} after Node`);
  const exit = await machine.ended;
  if (verbose) say(`the guest ended (${exit.how}) after ${machine.exits} exits to devices`);
  return exit;
}

/** Loads what it needs when it is needed: the threads of the processors start meanwhile. */
async function plugDisks(disks: readonly DiskWord[], flags: DiskFlags, machine: Machine): Promise<void> {
  const { addDisks } = await import('./run-disks.ts');
  const movable = await addDisks(disks, flags, machine, say);
  if (movable !== undefined) process.on('SIGUSR1', () => movable.toggle());
}

const notices = new BoundedOutput(process.stderr);

function say(line: string): void {
  // A terminal is raw by now.
  notices.line(`belfry: ${line}${process.stdin.isTTY ? '\r' : ''}`);
}
