// cli: what `belfry run` logs of a guest that does nothing: a warning where that is likely, a line after 5 s.
import { commandName } from './command-name.ts';

/** Many times what a kernel takes to start on a slow processor. */
const IDLE_MS = 5000;
/** Share of a processor above which the guest is in an endless loop. */
const BUSY_SHARE = 0.5;

/** What the watch reads of a machine. */
export interface WatchedMachine {
  /** Exits that devices have handled so far, those of the serial port included. */
  readonly exits: number;
  readonly ended: Promise<unknown>;
}

export interface IdleWatch {
  readonly log: (line: string) => void;
  /** What implements /dev/kvm where it is not hardware. */
  readonly software: string | undefined;
  /** Processor seconds of this process, its guest included. Default: `process.cpuUsage`. */
  readonly processorSeconds?: () => number;
}

/** Returns the warning at the start where KVM is software. */
export function softwareWarning(software: string): string {
  const belfry = commandName();
  return `/dev/kvm is ${software}: a stock Linux may not boot on it; ${belfry} demo, ${belfry} shell and QEMU do without it`;
}

/** Logs a line when the machine, which has just started, makes no exit for 5 s. Disposing of it ends the watch. */
export function watchForIdleness(machine: WatchedMachine, watch: IdleWatch): Disposable {
  const { log, software, processorSeconds = ownProcessorSeconds } = watch;
  const before = processorSeconds();
  const timer = setTimeout(() => {
    if (machine.exits > 0) return;
    const share = (processorSeconds() - before) / (IDLE_MS / 1000);
    const how = share >= BUSY_SHARE ? 'it keeps a processor busy' : 'its processors are halted';
    log(
      `the guest has done nothing for ${IDLE_MS / 1000} s: no output, no access to a device; ${how}. ${adviceFor(software)}`,
    );
  }, IDLE_MS);
  const stop = (): void => clearTimeout(timer);
  machine.ended.then(stop, stop);
  return { [Symbol.dispose]: stop };
}

function adviceFor(software: string | undefined): string {
  const belfry = commandName();
  if (software !== undefined) return `/dev/kvm is ${software}: try ${belfry} demo, or QEMU`;
  return `A kernel that cannot run here is silent, and so is one without console=ttyS0: try ${belfry} demo, or QEMU`;
}

function ownProcessorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
