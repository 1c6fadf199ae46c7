// cli: what the flags of `belfry bench blk` ask for, checked against each other before anything is started.
import { statSync } from 'node:fs';
import { type Engine, enginesFor, STORAGE_DAEMON } from '../../bench/back-end-commands.ts';
import { type BlkBenchOptions, benchBlk } from '../../bench/blk.ts';
import { type BlkCase, blkCase, suiteOf, withCache } from '../../bench/blk-cases.ts';
import { blkPage } from '../../bench/blk-page.ts';
import type { BlkBenchResult } from '../../bench/blk-result.ts';
import { formatBlkBench } from '../../bench/blk-table.ts';
import { type CellChoice, diskSuite } from '../../bench/disk-suite.ts';
import type { LoadSpec, Operation, Wait } from '../../bench/load/load-spec.ts';
import { chooseProcessors, keepProcessOn } from '../../bench/placement.ts';
import type { StoreSpec } from '../../bench/store-disk.ts';
import type { EngineName } from '../stores/open-store.ts';
import { parseSize } from '../stores/size.ts';
import { runBench } from './bench-run.ts';
import { UsageError } from './usage-error.ts';

export const SUITES = ['memory', 'disk'] as const;
export const PEERS = [STORAGE_DAEMON, 'belfry'] as const;
export const ROUNDS_AGAINST = 5;
/** Sizes of the disks that bench makes. */
export const MEMORY_BYTES = parseSize('1G');
export const DISK_BYTES = parseSize('256M');

export interface BlkFlags {
  readonly socket?: string;
  readonly against?: (typeof PEERS)[number];
  readonly suite?: (typeof SUITES)[number];
  readonly cells?: CellChoice;
  readonly store?: string;
  readonly overwrite?: boolean;
  readonly direct?: boolean;
  readonly op: Operation;
  readonly bs: number;
  readonly depth: number;
  readonly queues: number;
  readonly wait: Wait;
  readonly rate?: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds?: number;
  readonly size?: number;
  readonly engine?: EngineName | 'auto';
  readonly peerEngines: readonly Engine[];
  readonly serveArgs?: string;
  readonly peerArgs?: string;
  readonly inFlight?: boolean;
  readonly cpus?: readonly number[];
  readonly eventIdx: boolean;
  readonly seed: number;
  readonly json?: boolean;
  readonly html?: string;
}

export async function runBlk(flags: BlkFlags): Promise<void> {
  const options = blkOptions(flags);
  keepProcessOn(options.frontEndCpus[0]);
  await runBench((hooks) => benchBlk({ ...options, ...hooks }), {
    json: flags.json === true,
    ...(flags.html === undefined ? {} : { html: flags.html }),
    format: formatBlkBench,
    page: blkPage,
    hasErrors: ({ cases, failed }: BlkBenchResult) =>
      failed.length > 0 || cases.some(({ backEnds }) => (backEnds[0]?.summary.errors ?? 0) > 0),
  });
}

/** Returns the benchmark that the flags ask for. Throws UsageError where they contradict each other. */
function blkOptions(flags: BlkFlags): BlkBenchOptions {
  checkFlags(flags);
  const [backEndCpu = 0, ...frontEndCpus] = flags.cpus ?? chooseProcessors();
  const cases = casesOf(flags);
  const peerEngines = flags.against === STORAGE_DAEMON ? flags.peerEngines : [];
  checkPeers(cases, peerEngines);
  const store = storeOf(flags, cases);
  return {
    cases,
    rounds: flags.rounds ?? (flags.against === undefined ? 1 : ROUNDS_AGAINST),
    peerEngines,
    ...(flags.against === 'belfry' && { otherArgs: wordsOf(flags.peerArgs) }),
    ...(store && { store }),
    diskBytes: flags.size ?? MEMORY_BYTES,
    serveArgs: [...(flags.engine === undefined ? [] : ['--engine', flags.engine]), ...wordsOf(flags.serveArgs)],
    inFlight: flags.inFlight === true,
    frontEndCpus: frontEndCpus.length > 0 ? frontEndCpus : [backEndCpu],
    backEndCpu,
    ...(flags.socket === undefined ? {} : { socket: flags.socket }),
  };
}

function wordsOf(args = ''): string[] {
  return args.split(/\s+/).filter((word) => word !== '');
}

function checkFlags(flags: BlkFlags): void {
  const { socket, serveArgs, engine, store, suite, against } = flags;
  const isDisk = suite === 'disk';
  const refusals: readonly (readonly [isRefused: boolean, line: string])[] = [
    [
      socket !== undefined && (serveArgs ?? engine) !== undefined,
      '--serve-args is for a back end that bench starts itself, and --engine too: leave them or --socket out',
    ],
    [socket !== undefined && store !== undefined, '--store is for back ends that bench starts: leave out --socket'],
    [
      flags.rate !== undefined && (suite !== undefined || flags.op === 'verify' || flags.wait === 'poll'),
      '--rate sleeps until its requests are due: leave out --suite, --op verify and --wait poll',
    ],
    [isDisk && store === undefined, '--suite disk: --store PATH says which disk; a folder gets a scratch image'],
    [suite === 'memory' && store !== undefined, '--store: its cases are those of --suite disk'],
    [!isDisk && flags.cells !== undefined, '--cells selects from --suite disk: add that'],
    [isDisk && flags.direct === true, '--direct: with --suite disk it is --cells direct'],
    [store === undefined && flags.direct === true, '--direct is for a disk: --store PATH says which'],
    [store === undefined && flags.overwrite === true, '--overwrite is for the image of --store: name that'],
    [against !== 'belfry' && flags.peerArgs !== undefined, '--peer-args is for --against belfry: add that'],
  ];
  const refused = refusals.find(([isRefused]) => isRefused);
  if (refused !== undefined) throw new UsageError(refused[1]);
}

function casesOf(flags: BlkFlags): readonly BlkCase[] {
  const load: LoadSpec = {
    operation: flags.op,
    blockBytes: flags.bs,
    depth: flags.depth,
    queues: flags.queues,
    wait: flags.wait,
    ...(flags.rate === undefined ? {} : { rate: flags.rate }),
    seconds: flags.seconds,
    warmupSeconds: flags.warmup,
    eventIdx: flags.eventIdx,
    seed: flags.seed,
  };
  if (flags.suite === 'disk') return diskSuite(load, flags.cells);
  if (flags.suite === 'memory') return suiteOf(load);
  if (flags.store === undefined) return [blkCase(load)];
  return [withCache(blkCase(load), flags.direct ? 'direct' : 'cached')];
}

function checkPeers(cases: readonly BlkCase[], peerEngines: readonly Engine[]): void {
  if (peerEngines.length === 0 || cases.every(({ cache }) => enginesFor(peerEngines, cache).length > 0)) return;
  throw new UsageError('--peer-engines native: it needs O_DIRECT; add another one, or --cells direct or --direct');
}

/** Returns where the images are; undefined for a disk in memory. Throws UsageError for what may not be overwritten. */
function storeOf(
  { store, size, overwrite = false, against }: BlkFlags,
  cases: readonly BlkCase[],
): StoreSpec | undefined {
  if (store === undefined) return undefined;
  const stat = statSync(store, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new UsageError(`--store ${store}: it does not exist; name a folder for a scratch image, or an image`);
  if (stat.isDirectory()) {
    if (overwrite) throw new UsageError(`--overwrite: ${store} is a folder, where bench makes an image of its own`);
    return { kind: 'folder', path: store, sizeBytes: size ?? DISK_BYTES };
  }
  if (!stat.isFile() && !stat.isBlockDevice())
    throw new UsageError(`--store ${store}: it is neither a folder nor an image nor a block device`);
  if (size !== undefined) throw new UsageError(`--size: ${store} has a size; a scratch image in a folder takes one`);
  const writer = cases.find(({ load }) => !load.operation.endsWith('read'));
  if (writer !== undefined && !overwrite)
    throw new UsageError(
      `--store ${store}: "${writer.name}" overwrites it; take cases that read (--cells read), name a folder, or add --overwrite`,
    );
  if (overwrite && against === 'belfry')
    throw new UsageError(`--against belfry: each one locks an image that is written to; name a folder, not ${store}`);
  return { kind: 'image', path: store, overwrite };
}
