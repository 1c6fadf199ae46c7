// cli: makes and runs the machine of `belfry run`. A module of its own, which run.ts loads while threads start.
import { softwareKvm } from '../../doctor/kvm.ts';
import { Kvm } from '../kvm/kvm.ts';
import type { SpareThread } from '../kvm/spare-thread.ts';
import { checkBoot, Machine } from '../vmm/machine.ts';
import type { MachineExit } from '../vmm/platform.ts';
import { TerminalConsole } from '../vmm/terminal-console.ts';
import type { VirtioTerminal } from '../vmm/virtio-terminal.ts';
import { BoundedOutput } from './bounded-output.ts';
import { ConsoleKeys } from './console-keys.ts';
import { softwareWarning, watchForIdleness } from './idle-guest.ts';
import { millis } from './quantities.ts';
import type { RunDisks } from './run-disks.ts';
import { endOnSignals, neverBlock } from './run-end.ts';
import { COMMAND_LINES, type DiskFlags, type DiskWord, type RunFlags } from './run-flags.ts';

/** Runs until the guest ends; returns how it ended. `threads` are for its processors. */
export async function runMachine(
  flags: RunFlags,
  disks: readonly DiskWord[],
  threads: readonly SpareThread[],
): Promise<MachineExit> {
  const { kernel, initrd, append = COMMAND_LINES[flags.console], cpus, memory, verbose } = flags;
  const boot = { kernel, initrd, commandLine: append };
  checkBoot(boot, memory);
  await using opened = await openDisks(disks, flags);
  using kvm = Kvm.open();
  const { stdin, stdout: output, stderr } = process;
  for (const stream of [output, stderr]) neverBlock(stream);
  const software = softwareKvm();
  if (software !== undefined) log(softwareWarning(software));
  using keys = new ConsoleKeys(stdin, (text) => void output.write(text));
  const terminal = new TerminalConsole({ input: keys.input, output, onLeave: () => stop() });
  const virtio = flags.console === 'virtio' ? await virtioTerminal(terminal) : undefined;
  await using machine = new Machine(kvm, { cpus, memoryBytes: memory, console: virtio ?? terminal, threads });
  const stop = endOnSignals(machine, terminal);
  if (virtio !== undefined || opened !== undefined) await plugDevices(machine, flags, opened, virtio);
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
async function openDisks(words: readonly DiskWord[], flags: RunFlags): Promise<RunDisks | undefined> {
  if (words.length === 0 && flags.handOver === undefined) return undefined;
  const { RunDisks } = await import('./run-disks.ts');
  return await RunDisks.open(words, flags, flags.console === 'virtio' ? 1 : 0);
}

/** The guest's /dev/hvc0 on `terminal`, whose window may change. Loads its modules only where it is wanted. */
async function virtioTerminal(terminal: TerminalConsole): Promise<VirtioTerminal> {
  const { VirtioTerminal } = await import('../vmm/virtio-terminal.ts');
  const { stdout } = process;
  const size = () => ({ cols: stdout.columns, rows: stdout.rows });
  const console = new VirtioTerminal(terminal, stdout.isTTY ? size() : undefined);
  if (stdout.isTTY) stdout.on('resize', () => console.device.resize(size()));
  return console;
}

/** Loads its modules only where there are devices: the threads of the processors start meanwhile. */
async function plugDevices(
  machine: Machine,
  { transport }: DiskFlags,
  disks: RunDisks | undefined,
  console: VirtioTerminal | undefined,
): Promise<void> {
  const { virtioSlots } = await import('../vmm/virtio-slots.ts');
  const environment = { machine, slots: virtioSlots(machine, transport), log };
  if (console !== undefined) {
    const { plugDevice } = await import('../vmm/plug-device.ts');
    await plugDevice(console.device, 'console', environment);
  }
  const movable = await disks?.plug(environment);
  if (movable !== undefined) process.on('SIGUSR1', () => movable.toggle());
}

const notices = new BoundedOutput(process.stderr);

function log(line: string): void {
  // A terminal is in raw mode by now, so that a line needs its own carriage return.
  notices.line(`belfry: ${line}${process.stdin.isTTY ? '\r' : ''}`);
}
