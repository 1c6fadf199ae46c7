// bench: `bench blk`: measures a block device under load, alone or against its peers, round by round in turn.
import { type Engine, ourCommand, type ServedData, storageDaemonCommand } from './back-end-commands.ts';
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
import { type ProcessorSample, processorsBetween, sampleProcessors } from './processor-use.ts';

export interface BlkBenchOptions {
  readonly cases: readonly BlkCase[];
  readonly rounds: number;
  /** A back end that runs already; otherwise our own is started on a disk in memory. */
  readonly socket?: string;
  /** Engines of qemu-storage-daemon to compare with; none: no comparison. */
  readonly peerEngines: readonly Engine[];
  /** Bytes of the disk in memory. */
  readonly diskBytes: number;
  /** More arguments for `belfry serve blk`. */
  readonly serveArgs: readonly string[];
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
  readonly rounds: Round[];
}

/** Measures, and removes what it made. Throws what the load generator throws, and Error where a back end fails. */
export async function benchBlk(options: BlkBenchOptions): Promise<BlkBenchResult> {
  const needsDisk = options.socket === undefined || options.peerEngines.length > 0;
  if (needsDisk) options.onProgress?.('filling the disk');
  using disk = needsDisk ? new BenchDisk(options.diskBytes) : undefined;
  const cases: CaseResult[] = [];
  for (const one of options.cases) cases.push(await measureCase(one, options, disk));
  return { machine: thisMachine(), diskBytes: disk === undefined ? undefined : options.diskBytes, cases };
}

async function measureCase(one: BlkCase, options: BlkBenchOptions, disk: BenchDisk | undefined): Promise<CaseResult> {
  const { socket, rounds, signal } = options;
  await using processes = new AsyncDisposableStack();
  const contenders: Contender[] = [];
  if (socket !== undefined)
    contenders.push({ name: 'the socket', socket, process: undefined, command: undefined, rounds: [] });
  const missing: string[] = [];
  for (const command of commandsOf(one, options, disk)) {
    options.onProgress?.(`${one.name}: starting ${command.name}`);
    try {
      const process = processes.use(await BackEndProcess.start(command, options.backEndCpu, signal));
      contenders.push({ name: command.name, socket: command.socket, process, command: command.command, rounds: [] });
    } catch (error) {
      // One engine may be missing in this build or on this kernel; without any there is nothing to compare with.
      if (contenders.length === 0 || signal?.aborted) throw error;
      missing.push((error as Error).message);
    }
  }
  if (options.peerEngines.length > 0 && contenders.length === 1)
    throw new Error(`no peer to compare with: ${missing[0]}`);
  for (let round = 1; round <= rounds; round++) {
    for (const contender of contenders) {
      options.onProgress?.(`${one.name}: round ${round} of ${rounds}, ${contender.name}`);
      contender.rounds.push(await measureRound(one, contender, options));
    }
  }
  return caseResult(
    one.name,
    one.load,
    contenders.map((contender) => resultOf(contender, options)),
    missing,
  );
}

function commandsOf(one: BlkCase, options: BlkBenchOptions, disk: BenchDisk | undefined): BackEndCommand[] {
  if (disk === undefined) return [];
  const data: ServedData = { folder: disk.folder, disk: disk.path, queues: one.load.queues };
  const ours = options.socket === undefined ? [ourCommand(data, one.backEndPolls, options.serveArgs)] : [];
  return [...ours, ...options.peerEngines.map((engine) => storageDaemonCommand(data, engine))];
}

async function measureRound(one: BlkCase, contender: Contender, options: BlkBenchOptions): Promise<Round> {
  const pid = contender.process?.pid;
  const aborts = [options.signal, contender.process?.ended].filter((signal) => signal !== undefined);
  let from: ProcessorSample | undefined;
  let to: ProcessorSample | undefined;
  const queues = await generateLoad({
    socket: contender.socket,
    spec: one.load,
    cpus: options.frontEndCpus,
    signal: AbortSignal.any(aborts),
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
