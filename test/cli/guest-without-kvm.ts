// test/cli: `belfry run` without KVM: its console, serial port, exits, signals and end; the guest is a thread that prints for ever.
import { isMainThread, workerData } from 'node:worker_threads';
import { exitAfterOutput } from '../../src/cli/exit.ts';
import { endOnSignals, neverBlock } from '../../src/cli/run-end.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { rideNodeLoop } from '../../src/sys/node-loop.ts';
import { startThread } from '../../src/sys/thread.ts';
import { Bus } from '../../src/vmm/bus.ts';
import { ExitHandler } from '../../src/vmm/exit-handler.ts';
import type { ExitProgramData } from '../../src/vmm/exit-protocol.ts';
import { addPlatform, serialShortcuts } from '../../src/vmm/platform.ts';
import { PostedWrites } from '../../src/vmm/posted-writes.ts';
import { TerminalConsole } from '../../src/vmm/terminal-console.ts';

/** Prints until it is terminated. */
function printForEver({ posted, eventFd, shortcuts }: ExitProgramData): void {
  const writes = new PostedWrites(posted);
  const bell = EventFd.borrow(eventFd);
  for (;;) if (writes.post(shortcuts.start, 1, 'x'.charCodeAt(0))) bell.signal();
}

/** @param isStuck a device of the machine never closes. */
async function run(isStuck: boolean): Promise<void> {
  const { stdin: input, stdout: output, stderr } = process;
  for (const stream of [output, stderr]) neverBlock(stream);
  const loop = new EventLoop();
  using _ride = rideNodeLoop(loop);
  const stopped = Promise.withResolvers<void>();
  const console = new TerminalConsole({ input, output, onLeave: () => {} });
  endOnSignals({ stop: () => stopped.resolve() }, console);
  const [ports, memory, shortcuts] = [new Bus(), new Bus(), serialShortcuts()];
  addPlatform({ ports, setLine: () => {}, console, end: () => {}, status: shortcuts.status });
  const onFailure = (problem: Error): void => stopped.reject(problem);
  const exits = new ExitHandler(1, { ports, memory, loop, shortcuts, onFailure });
  const guest = startThread(new URL(import.meta.url), { workerData: exits.programData(0) });
  await stopped.promise;
  stderr.write('stopping\n');
  if (isStuck) await new Promise(() => {});
  exits.close();
  await guest.terminate();
  console.stop();
}

if (isMainThread) {
  await run(process.argv.includes('stuck'));
  await exitAfterOutput(0);
} else printForEver(workerData as ExitProgramData);
