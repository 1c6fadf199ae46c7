// bench: `bench blk`: measures a block device under load, alone or against its peers, round by round in turn.
import { type Engine, enginesFor, ourCommand, storageDaemonCommand } from './back-end-commands.ts';
import { type BackEndCommand, BackEndProcess } from './back-end-process.ts';
import { BenchDisk } from './bench-disk.ts';
import type { BlkCase } from './blk-cases.ts';
import {
  type BackEndResult,
  type BlkBenchResult,
  type CaseResult,
  caseResult,
  type Round,
  roundOf,
  summarizeRounds,
} from './blk-result.ts';
import { generateLoad } from './load/load-generator.ts';
import { thisMachine } from './machine.ts';
import type { MeasuredDisk } from './measured-disk.ts';
import { settle } from './page-cache.ts';
import { type ProcessorSample, processorsBetween, sampleProcessors } from './processor-use.ts';
import { StoreDisk, type StoreSpec } from './store-disk.ts';
import { TimeLeft } from './time-left.ts';

export interface BlkBenchOptions {
  readonly cases: readonly BlkCase[];
  readonly rounds: number;
  /** A back end that runs already; otherwise our own is started. */
  readonly socket?: string;
  /** Engines of qemu-storage-daemon to compare with; none: no comparison. */
  readonly peerEngines: readonly Engine[];
  /** Our own back end with these arguments to compare with. Absent: none. */
  readonly otherArgs?: readonly string[];
  /** Where the images are. Absent: a disk in memory, of `diskBytes`. */
  readonly store?: StoreSpec;
  readonly diskBytes: number;
  /** More arguments for `belfry serve blk`. */
  readonly serveArgs: readonly string[];
  /** Whether the first back end records its requests in flight. Its peers do not: qemu-storage-daemon cannot. */
  readonly inFlight: boolean;
  readonly frontEndCpus: readonly number[];
  readonly backEndCpu: number;
  /** Called with a line that says what is being done. */
  readonly onProgress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** One of the back ends of a case. */
interface Contender {
  readonly name: string;
  readonly socket: string;
  readonly process: BackEndProcess | undefined;
  readonly command: readonly string[] | undefined;
  readonly inFlight: boolean;
  readonly rounds: Round[];
}

/** A back end to start, and the image that it serves. */
interface Candidate {
  readonly command: BackEndCommand;
  readonly inFlight: boolean;
}

interface Run {
  readonly options: BlkBenchOptions;
  readonly disk: MeasuredDisk | undefined;
  readonly left: TimeLeft;
}

/**
 * Measures, and removes what it made. Throws what the load generator throws, and Error where a back end fails; after
 * the first case the failure of another one is part of the result.
 */
export async function benchBlk(options: BlkBenchOptions): Promise<BlkBenchResult> {
  const { cases: wanted } = options;
  using disk = await diskFor(options);
  const notes = disk instanceof StoreDisk ? disk.notes : [];
  const all = wanted.reduce((sum, one) => sum + options.rounds * contenderCount(one, options), 0);
  const run: Run = { options, disk, left: new TimeLeft(all) };
  const cases: CaseResult[] = [];
  const failed: string[] = [];
  for (const [index, one] of wanted.entries()) {
    try {
      cases.push(await measureCase(one, wanted.length > 1 ? `${index + 1} of ${wanted.length}: ` : '', run));
    } catch (error) {
      if (cases.length === 0 || options.signal?.aborted) throw error;
      failed.push(`${one.name}: not measured: ${(error as Error).message}`);
    }
  }
  return { machine: thisMachine(), diskBytes: disk?.sizeBytes, cases, notes, failed };
}

async function diskFor(options: BlkBenchOptions): Promise<MeasuredDisk | undefined> {
  const { cases, socket, peerEngines, otherArgs, store, diskBytes, onProgress, signal } = options;
  if (socket !== undefined && peerEngines.length === 0) return undefined;
  // A back end of ours locks its image.
  const images = otherArgs === undefined || (store?.kind === 'image' && !store.overwrite) ? 1 : 2;
  onProgress?.('filling the disk');
  if (store === undefined) return new BenchDisk(diskBytes, images);
  const mustBeCached = cases.some(({ cache }) => cache === 'cached');
  return await StoreDisk.create(store, { images, mustBeCached }, signal);
}

async function measureCase(one: BlkCase, position: string, run: Run): Promise<CaseResult> {
  const { options, left } = run;
  await using processes = new AsyncDisposableStack();
  const { contenders, missing } = await startContenders(one, run, processes);
  left.skip(options.rounds * missing.length);
  for (let round = 1; round <= options.rounds; round++) {
    // Whoever comes second finds what the first one left: caches, a disk's own work. So they change places.
    for (const contender of round % 2 === 1 ? contenders : contenders.toReversed()) {
      const time = left.toString();
      const what = `${position}${one.name}: round ${round} of ${options.rounds}, ${contender.name}`;
      options.onProgress?.(time === '' ? what : `${time}; ${what}`);
      contender.rounds.push(await measureRound(one, contender, run));
      left.done();
    }
  }
  const results = contenders.map((contender) => resultOf(contender, options));
  return caseResult(one.name, one.load, results, missing, one.cache);
}

async function startContenders(
  one: BlkCase,
  { options, disk }: Run,
  processes: AsyncDisposableStack,
): Promise<{ contenders: readonly Contender[]; missing: readonly string[] }> {
  const { socket, inFlight, signal } = options;
  const contenders: Contender[] = [];
  if (socket !== undefined)
    contenders.push({ name: 'the socket', socket, process: undefined, command: undefined, inFlight, rounds: [] });
  const missing: string[] = [];
  for (const { command, inFlight } of candidatesOf(one, options, disk)) {
    options.onProgress?.(`${one.name}: starting ${command.name}`);
    try {
      const process = processes.use(await BackEndProcess.start(command, options.backEndCpu, signal));
      contenders.push({ ...command, process, inFlight, rounds: [] });
    } catch (error) {
      // One engine may be missing in this build or on this kernel; without any there is nothing to compare with.
      if (contenders.length === 0 || signal?.aborted) throw error;
      missing.push((error as Error).message);
    }
  }
  if (contenders.length === 1 && missing.length > 0) throw new Error(`no peer to compare with: ${missing[0]}`);
  return { contenders, missing };
}

function candidatesOf(one: BlkCase, options: BlkBenchOptions, disk: MeasuredDisk | undefined): Candidate[] {
  if (disk === undefined) return [];
  const { socket, serveArgs, otherArgs, inFlight } = options;
  const [image = '', otherImage = image] = disk.paths;
  const { queues } = one.load;
  const data = { folder: disk.folder, disk: image, queues, cache: one.cache, readOnly: disk.readOnly };
  const candidates: Candidate[] = [];
  if (socket === undefined) candidates.push({ command: ourCommand(data, one.backEndPolls, serveArgs), inFlight });
  if (otherArgs !== undefined) {
    const other = ourCommand({ ...data, disk: otherImage }, one.backEndPolls, otherArgs, 'other belfry');
    candidates.push({ command: other, inFlight: false });
  }
  for (const engine of enginesFor(options.peerEngines, one.cache))
    candidates.push({ command: storageDaemonCommand(data, engine), inFlight: false });
  return candidates;
}

function contenderCount(one: BlkCase, { peerEngines, otherArgs }: BlkBenchOptions): number {
  return 1 + enginesFor(peerEngines, one.cache).length + (otherArgs === undefined ? 0 : 1);
}

async function measureRound(one: BlkCase, contender: Contender, { options, disk }: Run): Promise<Round> {
  const pid = contender.process?.pid;
  const aborts = [options.signal, contender.process?.ended].filter((signal) => signal !== undefined);
  const signal = AbortSignal.any(aborts);
  const { cache } = one;
  // Each round: what the one before it wrote would be written back, and its writes with O_DIRECT are not cached.
  if (cache !== undefined) for (const path of disk?.paths ?? []) await settle(path, cache, signal);
  let from: ProcessorSample | undefined;
  let to: ProcessorSample | undefined;
  const queues = await generateLoad({
    socket: contender.socket,
    spec: one.load,
    cpus: options.frontEndCpus,
    inFlight: contender.inFlight,
    signal,
    onPhase: (phase) => {
      if (phase === 'measuring') from = sampleProcessors(pid);
      else to = sampleProcessors(pid);
    },
  });
  const end = to ?? sampleProcessors(pid);
  return roundOf(queues, one.load.blockBytes, processorsBetween(from ?? end, end));
}

function resultOf(contender: Contender, options: BlkBenchOptions): BackEndResult {
  const { name, command, rounds } = contender;
  return {
    name,
    command,
    frontEndCpus: options.frontEndCpus,
    backEndCpu: contender.process === undefined ? undefined : options.backEndCpu,
    rounds,
    summary: summarizeRounds(rounds),
  };
}
