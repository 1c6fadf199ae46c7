// cli: `belfry bench`: one subcommand a benchmark.
import { Command, InvalidArgumentError, Option } from 'commander';
import { ENGINES, type Engine, STORAGE_DAEMON } from '../../bench/back-end-commands.ts';
import { type BlkBenchOptions, benchBlk } from '../../bench/blk.ts';
import { blkCase, suiteOf } from '../../bench/blk-cases.ts';
import { blkPage } from '../../bench/blk-page.ts';
import type { BlkBenchResult } from '../../bench/blk-result.ts';
import { formatBlkBench } from '../../bench/blk-table.ts';
import {
  DEFAULT_LOAD,
  type LoadSpec,
  OPERATIONS,
  type Operation,
  WAITS,
  type Wait,
} from '../../bench/load/load-spec.ts';
import { chooseProcessors, keepProcessOn } from '../../bench/placement.ts';
import { QUEUES_MAX } from '../devices/blk/block-config.ts';
import { parseSize } from '../stores/size.ts';
import { handoffCommand } from './bench-handoff.ts';
import { notifyCommand } from './bench-notify.ts';
import { runBench } from './bench-run.ts';
import { commandName } from './command-name.ts';
import * as option from './options.ts';
import { UsageError } from './usage-error.ts';

interface BlkFlags {
  readonly socket?: string;
  readonly against?: typeof STORAGE_DAEMON;
  readonly suite?: boolean;
  readonly op: Operation;
  readonly bs: number;
  readonly depth: number;
  readonly queues: number;
  readonly wait: Wait;
  readonly rate?: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds?: number;
  readonly size: number;
  readonly peerEngines: readonly Engine[];
  readonly serveArgs?: string;
  readonly cpus?: readonly number[];
  readonly eventIdx: boolean;
  readonly seed: number;
  readonly json?: boolean;
  readonly html?: string;
}

const ROUNDS_AGAINST = 5;
const DEPTH_MAX = 8192;
const RATE_MAX = 100_000;
const BLOCK_BYTES_MAX = 64 << 20;

const belfry = commandName();
const EXAMPLES = `
Without --socket it measures belfry itself, on a disk in memory. With it, a load that writes (all but read and randread)
destroys what is on that disk.

Examples:
  ${belfry} bench blk
  ${belfry} bench blk --op randwrite --depth 32 --wait poll
  ${belfry} bench blk --suite --against qemu-storage-daemon
  ${belfry} bench blk --op verify --seconds 60
  ${belfry} bench blk --rate 100 --seconds 60 --serve-args '--poll auto'
  ${belfry} bench blk --rate 0 --seconds 60
  ${belfry} bench blk --socket /tmp/disk.sock --op randread --bs 64k --json
`;

export function benchCommand(): Command {
  const blk = new Command('blk')
    .description('load a disk and measure its throughput and latency')
    .option('--socket <path>', 'measure the back end that listens there')
    .addOption(new Option('--against <peer>', 'compare, in turns, on the same data').choices([STORAGE_DAEMON]))
    .option('--suite', 'run the usual cases instead of --op, --bs, --depth and --wait')
    .addOption(
      new Option('--op <operation>', 'what the requests do').choices(OPERATIONS).default(DEFAULT_LOAD.operation),
    )
    .addOption(option.sizeOption('--bs <size>', 'bytes of a request', blockBytes, DEFAULT_LOAD.blockBytes))
    .option('--depth <n>', 'requests in flight on each queue', option.wholeNumber(1, DEPTH_MAX), DEFAULT_LOAD.depth)
    .option('--queues <n>', 'queues, each with a thread', option.wholeNumber(1, QUEUES_MAX), DEFAULT_LOAD.queues)
    .addOption(new Option('--wait <how>', 'how to wait for completions').choices(WAITS).default(DEFAULT_LOAD.wait))
    .option(
      '--rate <n>',
      'requests a second over all queues, each made when due; 0: none (default: no limit)',
      option.wholeNumber(0, RATE_MAX),
    )
    .option('--seconds <s>', 'how long to measure', option.seconds, DEFAULT_LOAD.seconds)
    .option('--warmup <s>', 'how long to run before that', option.seconds, DEFAULT_LOAD.warmupSeconds)
    .option('--rounds <n>', `rounds (default: 1, ${ROUNDS_AGAINST} with --against)`, option.wholeNumber(1, 1000))
    .addOption(option.sizeOption('--size <size>', 'size of the disk in memory', sizeOf, parseSize('1G')))
    .addOption(
      new Option('--peer-engines <list>', 'aio engines of qemu-storage-daemon')
        .argParser(engines)
        .default([...ENGINES], ENGINES.join(',')),
    )
    .option('--serve-args <args>', "more arguments for belfry serve, as in '--poll off'")
    .option('--cpus <list>', "processors: the back end's, then the front end's, as in 1,0", option.cpuList)
    .option('--no-event-idx', 'do not use EVENT_IDX')
    .option('--seed <n>', 'seed of random blocks and patterns', option.wholeNumber(0, 2 ** 31), DEFAULT_LOAD.seed)
    .option('--json', 'print the results of every round as JSON')
    .option('--html <file>', 'write the results as an HTML page')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: BlkFlags) => runBlk(flags));
  return new Command('bench')
    .description('measure, alone or against a peer')
    .addHelpText('after', `\nExamples:\n  ${belfry} bench blk\n  ${belfry} bench notify --quick\n`)
    .addCommand(blk)
    .addCommand(notifyCommand())
    .addCommand(handoffCommand());
}

async function runBlk(flags: BlkFlags): Promise<void> {
  const options = blkOptions(flags);
  keepProcessOn(options.frontEndCpus[0]);
  await runBench((hooks) => benchBlk({ ...options, ...hooks }), {
    json: flags.json === true,
    ...(flags.html === undefined ? {} : { html: flags.html }),
    format: formatBlkBench,
    page: blkPage,
    hasErrors: ({ cases }: BlkBenchResult) => cases.some(({ backEnds }) => (backEnds[0]?.summary.errors ?? 0) > 0),
  });
}

/** Returns the benchmark that the flags ask for. Throws UsageError where they contradict each other. */
function blkOptions(flags: BlkFlags): BlkBenchOptions {
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
  const against = flags.against !== undefined;
  if (flags.socket !== undefined && flags.serveArgs !== undefined) {
    throw new UsageError('--serve-args is for a back end that bench starts itself: leave out --socket or --serve-args');
  }
  if (flags.rate !== undefined && (flags.suite || flags.op === 'verify' || flags.wait === 'poll')) {
    throw new UsageError('--rate sleeps until its requests are due: leave out --suite, --op verify and --wait poll');
  }
  const [backEndCpu = 0, ...frontEndCpus] = flags.cpus ?? chooseProcessors();
  return {
    cases: flags.suite ? suiteOf(load) : [blkCase(load)],
    rounds: flags.rounds ?? (against ? ROUNDS_AGAINST : 1),
    peerEngines: against ? flags.peerEngines : [],
    diskBytes: flags.size,
    serveArgs: (flags.serveArgs ?? '').split(/\s+/).filter((word) => word !== ''),
    frontEndCpus: frontEndCpus.length > 0 ? frontEndCpus : [backEndCpu],
    backEndCpu,
    ...(flags.socket === undefined ? {} : { socket: flags.socket }),
  };
}

function blockBytes(text: string): number {
  const bytes = sizeOf(text);
  if (bytes > BLOCK_BYTES_MAX) throw new InvalidArgumentError('It takes a multiple of 512 up to 64M.');
  return bytes;
}

function sizeOf(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
}

function engines(text: string): Engine[] {
  return text.split(',').map((name) => {
    const engine = ENGINES.find((known) => known === name);
    if (engine === undefined) throw new InvalidArgumentError(`It takes some of ${ENGINES.join(',')}.`);
    return engine;
  });
}
