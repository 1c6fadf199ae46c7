// demo: the main job, once: a disk is made and served, a guest drives it, and what happened is told.

import type { GuestStep } from '../guests/console-parser.ts';
import { PeerMissingError } from '../guests/guest-peer.ts';
import type { DeviceSnapshot } from '../src/daemon/device-snapshot.ts';
import { formatSize } from '../src/stores/size.ts';
import { DemoDisk } from './demo-disk.ts';
import { type DemoGuest, findGuest, GUEST_NAMES, type GuestName, type Performance } from './demo-guest.ts';

export interface DemoOptions {
  /** The best this machine has when absent. */
  readonly guest?: GuestName;
  readonly sizeBytes: number;
  /** MiB the guest writes in each of two ways; what suits it when absent. */
  readonly dataMiB?: number;
  readonly keep: boolean;
  readonly signal: AbortSignal;
}

/** Who watches. */
export interface Audience {
  /** What begins now. */
  doing(what: string): void;
  done(what: string): void;
  /** What the guest has done. */
  step(step: GuestStep): void;
  /** A thing to know, in one line. */
  note(line: string): void;
}

export interface DemoResult {
  /** The guest came to its end and its checksums matched. */
  readonly ok: boolean;
  /** What went wrong, in one line; '' when `ok`. */
  readonly problem: string;
  readonly guest: {
    readonly name: GuestName;
    readonly description: string;
    readonly kernel: string;
    readonly bootMs: number;
  };
  readonly disk: {
    readonly path: string;
    readonly kept: boolean;
    readonly inMemory: boolean;
    readonly sizeBytes: number;
    readonly allocatedBytes: number;
  };
  readonly steps: readonly GuestStep[];
  readonly device: DeviceSnapshot & {
    readonly p50Us: number;
    readonly p99Us: number;
    /** Requests for which nobody had to ring. */
    readonly kicksSaved: number;
    readonly callsSaved: number;
  };
  readonly totalMs: number;
  /** The end of the guest's console, where there was one. */
  readonly consoleTail: readonly string[];
}

/** Bytes of disk for each byte of `dataMiB`: it is written twice, and the file system wants some room. */
export const DISK_PER_DATA = 5;
const MIB = 2 ** 20;
const SLACK_BYTES = 64 * MIB;

/**
 * Runs the demo; a guest that fails makes a result that says so. Leaves nothing behind but what `keep` asks for and
 * what was fetched into the cache folder. Throws PeerMissingError for a guest asked for by name, RangeError for a disk
 * that fits nowhere, what made serving fail, and the signal's reason.
 */
export async function runDemo(options: DemoOptions, audience: Audience): Promise<DemoResult> {
  for (const name of options.guest === undefined ? GUEST_NAMES : [options.guest]) {
    try {
      audience.doing('looking for a guest');
      const guest = await findGuest[name]({ note: (line) => audience.note(line), signal: options.signal });
      audience.done(`guest: ${guest.description}`);
      const result = await playOn(guest, options, audience);
      // It meets the disk only when its kernel is up: where none came up, this machine does not let it run.
      const couldNotRun = name === 'uml' && result.guest.kernel === '';
      if (!couldNotRun || options.guest !== undefined) return result;
      audience.note(`User-Mode Linux does not run here: ${result.problem}`);
    } catch (error) {
      if (!(error instanceof PeerMissingError) || options.guest !== undefined) throw error;
      audience.note(error.message);
    }
  }
  throw new Error('even the built-in front end is missing');
}

async function playOn(guest: DemoGuest, options: DemoOptions, audience: Audience): Promise<DemoResult> {
  const startedMs = performance.now();
  const { sizeBytes, keep } = options;
  const dataMiB = options.dataMiB ?? Math.min(guest.dataMiB, Math.floor(sizeBytes / DISK_PER_DATA / MIB));
  // The built-in front end may come to every block.
  const contentBytes = dataMiB === 0 ? sizeBytes : 2 * dataMiB * MIB + SLACK_BYTES;
  const guestBytes = guest.memoryBytes(dataMiB);
  await using disk = await DemoDisk.start({ sizeBytes, contentBytes, guestBytes, log: (line) => audience.note(line) });
  audience.done(`disk: ${formatSize(sizeBytes)}, sparse${disk.isInMemory ? ', in memory' : ''}: ${disk.path}`);
  audience.done(`served over vhost-user: ${disk.socket}`);
  audience.doing(guest.name === 'built-in' ? 'moving data' : 'booting Linux');
  const signal = AbortSignal.any([options.signal, disk.ended]);
  const performed = await guest.play({
    socket: disk.socket,
    dataMiB,
    onStep: (step) => audience.step(step),
    note: (line) => audience.note(line),
    signal,
  });
  // A guest fails when its disk is closed under it: that is not its fault.
  if (!performed.ok) signal.throwIfAborted();
  if (keep) disk.keep();
  const device = await disk.stop();
  return {
    ...outcomeOf(guest, performed),
    disk: {
      path: disk.path,
      kept: keep,
      inMemory: disk.isInMemory,
      sizeBytes,
      allocatedBytes: disk.allocatedBytes(),
    },
    device: { ...device, ...figuresOf(device, disk.latency) },
    totalMs: performance.now() - startedMs,
  };
}

function outcomeOf(
  { name, description }: DemoGuest,
  { ok, problem, kernel, bootMs, steps, consoleTail }: Performance,
): Pick<DemoResult, 'ok' | 'problem' | 'guest' | 'steps' | 'consoleTail'> {
  return { ok, problem, guest: { name, description, kernel, bootMs }, steps, consoleTail };
}

type Figures = Pick<DemoResult['device'], 'p50Us' | 'p99Us' | 'kicksSaved' | 'callsSaved'>;

function figuresOf({ requests, kicks, calls }: DeviceSnapshot, latency: DemoDisk['latency']): Figures {
  const percentileUs = (percent: number): number => (latency.count === 0 ? 0 : latency.percentile(percent) / 1000);
  return {
    p50Us: percentileUs(50),
    p99Us: percentileUs(99),
    kicksSaved: Math.max(0, requests - kicks),
    callsSaved: Math.max(0, requests - calls),
  };
}
