// demo: serves a disk, runs a guest on it, and reports the result.
import type { GuestStep } from '../guests/console-parser.ts';
import { PeerMissingError } from '../guests/guest-peer.ts';
import type { DeviceSnapshot } from '../src/daemon/device-snapshot.ts';
import { formatSize, type Log } from '../src/index.ts';
import { levelOf } from '../src/virtio/log.ts';
import { DemoDisk } from './demo-disk.ts';
import { type DemoGuest, GUEST_NAMES, type GuestName, type Performance } from './demo-guest.ts';
import { type DemoPlan, type DiskTraits, planFor } from './demo-plan.ts';
import type { StepList } from './demo-steps.ts';
import { findGuest } from './find-guest.ts';
import { ServedStore, type StoreFacts } from './served-store.ts';

interface CommonOptions {
  /** Default: the best that this machine has. */
  readonly guest?: GuestName;
  /** MiB the guest writes in each of two ways, or reads. Default: that of the guest. */
  readonly dataMiB?: number;
  readonly signal: AbortSignal;
}

export interface DemoOptions extends CommonOptions {
  readonly sizeBytes: number;
  readonly keep: boolean;
}

export interface StoreDemoOptions extends CommonOptions {
  /** STORE, as `belfry serve blk` takes it. */
  readonly spec: string;
  readonly readOnly: boolean;
  /** Called before anything is written to it; throws where nothing may be. */
  readonly permit: (facts: StoreFacts) => Promise<void>;
}

/** Receives the progress of the demo. */
export interface Audience {
  /** `what` begins now. */
  doing(what: string): void;
  done(what: string): void;
  /** The list of steps that the guest takes next. */
  expect(steps: StepList): void;
  /** The guest has ended a step. */
  step(step: GuestStep): void;
  /** A remark, in one line. */
  note(line: string): void;
}

export interface DemoResult {
  /** The guest finished and its checksums matched. */
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
    /** Path of the demo's own image, or STORE as it was given. */
    readonly path: string;
    readonly sizeBytes: number;
    readonly readOnly: boolean;
    /** Undefined for a disk that is not the demo's. */
    readonly own?: { readonly kept: boolean; readonly inMemory: boolean; readonly allocatedBytes: number };
  };
  readonly checks: StepList;
  /** What was not checked, and why: a line each. */
  readonly unchecked: readonly string[];
  readonly steps: readonly GuestStep[];
  readonly device: DeviceSnapshot & Figures;
  readonly totalMs: number;
  /** The end of the guest's console, where there was one. */
  readonly consoleTail: readonly string[];
}

interface Figures {
  readonly p50Us: number;
  readonly p99Us: number;
  /** Requests that needed no notification. */
  readonly kicksSaved: number;
  readonly callsSaved: number;
}

const MIB = 2 ** 20;
const SLACK_BYTES = 64 * MIB;

/**
 * Runs the demo on a disk of its own; a guest that fails makes a result that says so. Removes everything but what
 * `keep` asks for and what was downloaded into the cache folder. Throws PeerMissingError for a guest asked for by name,
 * RangeError for a disk that no folder has room for, the error that ended serving, and the signal's reason.
 */
export async function runDemo(options: DemoOptions, audience: Audience): Promise<DemoResult> {
  return await withGuest(options, audience, (guest) => playOnOwnDisk(guest, options, audience));
}

/** As `runDemo`, on the user's disk. Throws `StoreError`, and what `permit` throws. */
export async function runStoreDemo(options: StoreDemoOptions, audience: Audience): Promise<DemoResult> {
  const { spec, readOnly, signal } = options;
  const log = (line: string): void => audience.note(line);
  const start = () => ServedStore.start({ spec, readOnly, serial: 'belfry-demo', log, signal });
  const first = await start();
  await using _first = first.store;
  if (!first.facts.readOnly) await options.permit(first.facts);
  let started: typeof first | undefined = first;
  return await withGuest(options, audience, async (guest) => {
    // Every guest has a back end of its own, whose counts are those of this guest.
    const { store, facts } = started ?? (await start());
    started = undefined;
    await using _store = store;
    return await playOnStore(guest, store, facts, options, audience);
  });
}

/** Runs `guest`, or the first kind of guest that runs here. */
async function withGuest(
  options: CommonOptions,
  audience: Audience,
  play: (guest: DemoGuest) => Promise<DemoResult>,
): Promise<DemoResult> {
  for (const name of options.guest === undefined ? GUEST_NAMES : [options.guest]) {
    try {
      audience.doing('looking for a guest');
      const guest = await findGuest[name]({ note: (line) => audience.note(line), signal: options.signal });
      audience.done(`guest: ${guest.description}`);
      const result = await play(guest);
      // A guest without a kernel version never started: User-Mode Linux cannot run on this machine.
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

async function playOnOwnDisk(guest: DemoGuest, options: DemoOptions, audience: Audience): Promise<DemoResult> {
  const startedMs = performance.now();
  const { sizeBytes, keep } = options;
  const traits = { sizeBytes, readOnly: false };
  const plan = planFor(traits, options.dataMiB, guest.dataMiB);
  // The built-in front end may write to every block.
  const contentBytes = guest.name === 'built-in' ? sizeBytes : 2 * plan.dataMiB * MIB + SLACK_BYTES;
  const guestBytes = guest.memoryBytes(plan);
  const log: Log = (line, about) => {
    if (levelOf(about) !== 'info') audience.note(line);
  };
  await using disk = await DemoDisk.start({ sizeBytes, contentBytes, guestBytes, log });
  audience.done(`disk: ${formatSize(sizeBytes)}, sparse${disk.isInMemory ? ', in memory' : ''}: ${disk.path}`);
  audience.done(`served over vhost-user: ${disk.socket}`);
  const performed = await perform(
    guest,
    { ...options, traits, plan, socket: disk.socket, ended: disk.ended },
    audience,
  );
  if (keep) disk.keep();
  const device = await disk.stop();
  const own = { kept: keep, inMemory: disk.isInMemory, allocatedBytes: disk.allocatedBytes() };
  return {
    ...outcomeOf(guest, plan, performed),
    disk: { path: disk.path, ...traits, own },
    device: { ...device, ...figuresOf(device, disk.latency) },
    totalMs: performance.now() - startedMs,
  };
}

async function playOnStore(
  guest: DemoGuest,
  store: ServedStore,
  facts: StoreFacts,
  options: StoreDemoOptions,
  audience: Audience,
): Promise<DemoResult> {
  const startedMs = performance.now();
  const { name, sizeBytes, readOnly } = facts;
  const plan = planFor(facts, options.dataMiB, guest.dataMiB);
  audience.done(`disk: ${name}, ${sizeText(sizeBytes)}${readOnly ? ', read-only' : ''}`);
  audience.done(`served over vhost-user: ${store.socket}`);
  const place = { ...options, traits: facts, plan, socket: store.socket, ended: store.ended };
  const performed = await perform(guest, place, audience);
  const device = await store.stop();
  return {
    ...outcomeOf(guest, plan, performed),
    disk: { path: options.spec, sizeBytes, readOnly },
    device,
    totalMs: performance.now() - startedMs,
  };
}

interface Place {
  readonly traits: DiskTraits;
  readonly plan: DemoPlan;
  readonly socket: string;
  readonly signal: AbortSignal;
  /** Aborted when serving fails. */
  readonly ended: AbortSignal;
}

async function perform(guest: DemoGuest, place: Place, audience: Audience): Promise<Performance> {
  audience.expect(guest.name === 'built-in' ? 'built-in' : place.plan.steps);
  audience.doing(guest.name === 'built-in' ? 'moving data' : 'booting Linux');
  const signal = AbortSignal.any([place.signal, place.ended]);
  const performed = await guest.play({
    socket: place.socket,
    disk: place.traits,
    plan: place.plan,
    onStep: (step) => audience.step(step),
    note: (line) => audience.note(line),
    signal,
  });
  // A guest also fails when serving ended under it: that error is thrown instead.
  if (!performed.ok) signal.throwIfAborted();
  return performed;
}

function outcomeOf(
  { name, description }: DemoGuest,
  plan: DemoPlan,
  { ok, problem, kernel, bootMs, steps, consoleTail, unchecked }: Performance,
): Omit<DemoResult, 'disk' | 'device' | 'totalMs'> {
  const isBuiltIn = name === 'built-in';
  return {
    ...{ ok, problem, steps, consoleTail },
    guest: { name, description, kernel, bootMs },
    checks: isBuiltIn ? 'built-in' : plan.steps,
    unchecked: [...(isBuiltIn ? [] : plan.unchecked), ...unchecked],
  };
}

function figuresOf({ requests, kicks, calls }: DeviceSnapshot, latency: DemoDisk['latency']): Figures {
  const percentileUs = (percent: number): number => (latency.count === 0 ? 0 : latency.percentile(percent) / 1000);
  return {
    p50Us: percentileUs(50),
    p99Us: percentileUs(99),
    kicksSaved: Math.max(0, requests - kicks),
    callsSaved: Math.max(0, requests - calls),
  };
}

function sizeText(sizeBytes: number): string {
  const text = formatSize(sizeBytes);
  return /\d$/.test(text) ? `${text} bytes` : text;
}
