// cli: `belfry bench`: one subcommand a benchmark.
import { Command, InvalidArgumentError, Option } from 'commander';
import { ENGINES, type Engine } from '../../bench/back-end-commands.ts';
import { CELL_WORDS, type CellChoice, parseCells } from '../../bench/disk-suite.ts';
import { DEFAULT_LOAD, OPERATIONS, WAITS } from '../../bench/load/load-spec.ts';
import { QUEUES_MAX } from '../devices/blk/block-config.ts';
import { ENGINE_NAMES } from '../stores/open-store.ts';
import { formatSize, parseSize } from '../stores/size.ts';
import { type BlkFlags, DISK_BYTES, MEMORY_BYTES, PEERS, ROUNDS_AGAINST, runBlk, SUITES } from './bench-blk.ts';
import { handoffCommand } from './bench-handoff.ts';
import { notifyCommand } from './bench-notify.ts';
import { commandName } from './command-name.ts';
import * as option from './options.ts';

const DEPTH_MAX = 8192;
const RATE_MAX = 100_000;
const BLOCK_BYTES_MAX = 64 << 20;

const belfry = commandName();
const HELP = `
Without --socket it measures belfry itself, on a disk in memory, or on that of --store. With --socket, a load that writes (all but read
and randread) destroys what is on that disk.

--store PATH: in a folder, bench makes a scratch image of --size, fills it, and removes it at the end, also after Ctrl-C. An image or
block device is only read, and served read-only, unless --overwrite is given: then all of it is overwritten first, whatever it holds.
One that another program has locked is refused, and so is overwriting a mounted device.

--suite disk: 36 cells, which are {cached, direct} x {4K, 64K, 1M} x {read, write} x {depth 1, 16, 64}, blocks at random. In a cell
all back ends serve the same image and are measured in turns, round by round. Before each round the image is written back; for cached
cells all of it is then read into the page cache, for direct ones it is dropped from there. Cached: --peer-engines but native, with
cache.direct=off. Direct: all of them with cache.direct=on, and belfry with --direct. All 36 against three engines, 5 rounds of 2
seconds, take half an hour or more; --cells takes some of them. Of each kind of word, no word means all.

--against belfry: a second belfry, with --peer-args instead of --engine and --serve-args, and without --in-flight. Each has an image
of its own, unless both only read one of the user's.

Examples:
  ${belfry} bench blk
  ${belfry} bench blk --op randwrite --depth 32 --wait poll
  ${belfry} bench blk --suite --against qemu-storage-daemon
  ${belfry} bench blk --store /var/tmp --suite disk --against qemu-storage-daemon --html disk.html
  ${belfry} bench blk --store /var/tmp --suite disk --cells 4K,cached,64 --against qemu-storage-daemon --engine uring
  ${belfry} bench blk --store disk.img --direct --depth 16
  ${belfry} bench blk --in-flight --against belfry
  ${belfry} bench blk --serve-args '--limit iops=10000000' --against belfry --rounds 10
  ${belfry} bench blk --op verify --seconds 60
  ${belfry} bench blk --rate 100 --seconds 60 --serve-args '--poll auto'
  ${belfry} bench blk --rate 0 --seconds 60
  ${belfry} bench blk --socket /tmp/disk.sock --op randread --bs 64k --json
`;

export function benchCommand(): Command {
  const blk = new Command('blk').description('load a disk and measure its throughput and latency');
  for (const add of [withWhat, withLoad, withBackEnds, withMeasurement]) add(blk);
  blk.addHelpText('after', HELP).action(async (flags: BlkFlags) => runBlk(flags));
  return new Command('bench')
    .description('measure, alone or against a peer')
    .addHelpText('after', `\nExamples:\n  ${belfry} bench blk\n  ${belfry} bench notify --quick\n`)
    .addCommand(blk)
    .addCommand(notifyCommand())
    .addCommand(handoffCommand());
}

/** What is measured, on which disk. */
function withWhat(blk: Command): void {
  blk
    .option('--socket <path>', 'measure the back end that listens there')
    .addOption(new Option('--against <peer>', 'compare, in turns').choices(PEERS))
    .addOption(
      new Option(
        '--suite [name]',
        'run these cases instead of --op, --bs and --depth: the usual ones, or those of a disk',
      )
        .choices(SUITES)
        .preset('memory'),
    )
    .option('--cells <list>', `some cells of --suite disk: of ${CELL_WORDS.join(', ')}`, cells)
    .option('--store <path>', 'the disk: a folder for a scratch image, an image, or a block device')
    .option('--overwrite', 'overwrite the image of --store: everything in it is lost')
    .option('--direct', 'access --store with O_DIRECT, not by way of the page cache')
    .option(
      '--size <size>',
      `size of the disk that bench makes (default: ${formatSize(MEMORY_BYTES)} in memory, ${formatSize(DISK_BYTES)} in a folder)`,
      sizeOf,
    );
}

/** The requests. */
function withLoad(blk: Command): void {
  blk
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
    .option('--no-event-idx', 'do not use EVENT_IDX')
    .option('--seed <n>', 'seed of random blocks and patterns', option.wholeNumber(0, 2 ** 31), DEFAULT_LOAD.seed);
}

/** How the back ends are started. */
function withBackEnds(blk: Command): void {
  blk
    .addOption(
      new Option('--engine <engine>', 'engine of belfry serve (default: auto)').choices(['auto', ...ENGINE_NAMES]),
    )
    .option('--serve-args <args>', "more arguments for belfry serve, as in '--poll off'")
    .option('--in-flight', 'have the back end record its requests in flight; peers do not')
    .addOption(
      new Option('--peer-engines <list>', 'aio engines of qemu-storage-daemon')
        .argParser(engines)
        .default([...ENGINES], ENGINES.join(',')),
    )
    .option('--peer-args <args>', 'arguments of the other belfry serve of --against belfry')
    .option('--cpus <list>', "processors: the back end's, then the front end's, as in 1,0", option.cpuList);
}

function withMeasurement(blk: Command): void {
  blk
    .option('--seconds <s>', 'how long to measure', option.seconds, DEFAULT_LOAD.seconds)
    .option('--warmup <s>', 'how long to run before that', option.seconds, DEFAULT_LOAD.warmupSeconds)
    .option('--rounds <n>', `rounds (default: 1, ${ROUNDS_AGAINST} with --against)`, option.wholeNumber(1, 1000))
    .option('--json', 'print the results of every round as JSON')
    .option('--html <file>', 'write the results as an HTML page');
}

function cells(text: string): CellChoice {
  try {
    return parseCells(text);
  } catch (error) {
    throw new InvalidArgumentError(`It takes ${(error as Error).message}.`);
  }
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
