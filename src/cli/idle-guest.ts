// Upper floor: what `belfry run` says of a guest that does nothing: where that is likely, and when it has come to it.
import { commandName } from './command-name.ts';

/** As long as the slowest start of a kernel on a real processor takes, many times over. */
const IDLE_MS = 5000;
/** Of a processor: more, and the guest runs in a circle. */
const BUSY_SHARE = 0.5;

/** What there is to be known of a machine here. */
export interface WatchedMachine {
  /** Exits that devices answered so far; what a guest prints is among them. */
  readonly exits: number;
  readonly ended: Promise<unknown>;
}

export interface IdleWatch {
  readonly say: (line: string) => void;
  /** What stands behind /dev/kvm where that is no hardware. */
  readonly software: string | undefined;
  /** Processor seconds of this process, its guest included. */
  readonly processorSeconds?: () => number;
}

/** Said at the start, where KVM is software. */
export function softwareWarning(software: string): string {
  const belfry = commandName();
  return `/dev/kvm is ${software}: a stock Linux may not boot on it; ${belfry} demo, ${belfry} shell and QEMU do without it`;
}

/** Once the machine runs: tells what is known after 5 s without a sign of it. Disposing of it ends that. */
export function watchForIdleness(machine: WatchedMachine, watch: IdleWatch): Disposable {
  const { say, software, processorSeconds = ownProcessorSeconds } = watch;
  const before = processorSeconds();
  const timer = setTimeout(() => {
    if (machine.exits > 0) return;
    const share = (processorSeconds() - before) / (IDLE_MS / 1000);
    const how = share >= BUSY_SHARE ? 'it keeps a processor busy' : 'its processors are halted';
    say(
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
