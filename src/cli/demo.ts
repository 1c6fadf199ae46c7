// cli: `belfry demo`: a guest checks a served disk, one that the demo makes or one of the user's.

import { createInterface } from 'node:readline/promises';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import { columnsOf, wrapLines } from '../../bench/text/columns.ts';
import { GUEST_NAMES, type GuestName } from '../../demo/demo-guest.ts';
import { DISK_PER_DATA } from '../../demo/demo-plan.ts';
import { type Audience, type DemoResult, runDemo, runStoreDemo } from '../../demo/run-demo.ts';
import { StoreError, type StoreFacts } from '../../demo/served-store.ts';
import { findGuestPeer } from '../../guests/find-guest-peer.ts';
import { isModule } from '../daemon/load-module.ts';
import { formatSize, parseSize } from '../stores/size.ts';
import { commandName } from './command-name.ts';
import { DemoReport, formatDemo } from './demo-report.ts';
import { interruptSignal, logInterrupted } from './interrupt.ts';
import * as option from './options.ts';
import { bytes } from './quantities.ts';
import { UsageError } from './usage-error.ts';

interface DemoFlags {
  readonly guest?: GuestName;
  readonly size?: number;
  readonly data?: number;
  readonly readOnly?: boolean;
  readonly yes?: boolean;
  readonly keep?: boolean;
  readonly json?: boolean;
}

const MIB = 2 ** 20;
const SIZE_DEFAULT = 512 * MIB;
const DATA_MIB_MAX = 2 ** 20;

const belfry = commandName();
const EXAMPLES = `
It makes a sparse disk, serves it over vhost-user, and boots a Linux that partitions, formats, fills, reads back and checks it.
Where User-Mode Linux is not installed it is downloaded into the cache folder; the system is not changed. Exit code 0 only when
every checksum matched.

With STORE, as ${belfry} serve blk takes it, it does the same to that disk, and everything on it is lost: --yes confirms that this is
meant. With --read-only nothing is changed: an ext4 on it is mounted, and the disk is read twice and compared. What could not be
checked is listed at the end.

Examples:
  ${belfry} demo
  ${belfry} demo --guest qemu
  ${belfry} demo ./my-disk.ts
  ${belfry} demo disk.img --read-only
  ${belfry} demo /dev/vg0/scratch --yes
  ${belfry} demo --size 2G --data 128 --keep
  ${belfry} demo --json | jq .device
`;

export function demoCommand(): Command {
  return new Command('demo')
    .description('see it work: a real Linux on a disk that is served from here')
    .argument('[store]', 'the disk to check (default: one that demo makes)')
    .addOption(
      new Option('--guest <name>', 'the guest that uses the disk (default: the best there is)').choices(GUEST_NAMES),
    )
    .addOption(
      new Option('--size <size>', 'size of the disk made (default: 512 MiB)').argParser(
        option.diskSize(parseSize('32M')),
      ),
    )
    .option(
      '--data <MiB>',
      'MiB a Linux writes in each of two ways (default: 16, in QEMU 8), or reads (default: 1024)',
      option.wholeNumber(4, DATA_MIB_MAX),
    )
    .option('--read-only', 'change nothing on STORE')
    .option('--yes', 'everything on STORE may be lost')
    .option('--keep', 'keep the disk made, and print its path')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (store: string | undefined, flags: DemoFlags) => demo(store, flags));
}

async function demo(store: string | undefined, flags: DemoFlags): Promise<void> {
  checkFlags(store, flags);
  const signal = interruptSignal();
  let result: DemoResult;
  try {
    result = await run(store, flags, signal);
  } catch (error) {
    if (signal.aborted)
      return logInterrupted(`the guest is stopped${store === undefined ? ' and the disk removed' : ''}`);
    if (error instanceof StoreError && error.exitCode === 2) throw new UsageError(error.message);
    throw error;
  }
  if (flags.json) console.log(JSON.stringify(result, undefined, 2));
  else console.log(formatDemo(result, columnsOf(), await hasLinux(result)));
  if (!result.ok) process.exitCode = 1;
}

async function run(store: string | undefined, flags: DemoFlags, signal: AbortSignal): Promise<DemoResult> {
  const { guest, size, data, keep, readOnly } = flags;
  using audience = audienceOf(flags);
  const common = {
    signal,
    ...(guest === undefined ? {} : { guest }),
    ...(data === undefined ? {} : { dataMiB: data }),
  };
  if (store === undefined)
    return await runDemo({ ...common, sizeBytes: size ?? SIZE_DEFAULT, keep: keep === true }, audience);
  const permit = (facts: StoreFacts): Promise<void> => permitWriting(store, facts, flags, signal);
  return await runStoreDemo({ ...common, spec: store, readOnly: readOnly === true, permit }, audience);
}

/** With --json only the result goes to standard output. */
function audienceOf({ json }: DemoFlags): Audience & Disposable {
  if (json && !process.stderr.isTTY) return onlyNotes;
  if (json) return new DemoReport(process.stderr);
  return new DemoReport(process.stdout, `${pc.bold('Belfry')} serves a disk, and a guest puts it to the test.\n\n`);
}

const onlyNotes: Audience & Disposable = {
  expect() {},
  doing() {},
  done() {},
  step() {},
  note: (line) => console.error(`belfry: ${line}`),
  [Symbol.dispose]() {},
};

/** Asks on a terminal; without one --yes is needed. Throws UsageError where nothing may be written. */
async function permitWriting(
  store: string,
  { sizeBytes }: StoreFacts,
  { data, yes }: DemoFlags,
  signal: AbortSignal,
): Promise<void> {
  if (data !== undefined) checkData(data, sizeBytes, store);
  // A disk of memory holds no data, and a module is for trying out.
  if (yes || store.startsWith('mem:') || isModule(store)) return;
  const instead = 'add --yes if that is meant, or --read-only to change nothing';
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new UsageError(`demo writes to ${store}, and everything on it is lost: ${instead}`);
  const warning = `The demo writes to ${store} (${bytes(sizeBytes)}): everything on it is lost.`;
  process.stderr.write(`${pc.yellow(wrapLines(warning, columnsOf(process.stderr)))}\n`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question('Type yes to go on: ', { signal }).finally(() => terminal.close());
  if (answer.trim().toLowerCase() !== 'yes') throw new UsageError(`nothing was written: ${instead}`);
}

function checkFlags(store: string | undefined, { guest, data, size, keep, yes, readOnly }: DemoFlags): void {
  if (store === undefined && (yes || readOnly)) throw new UsageError('--yes and --read-only are for a STORE');
  if (store !== undefined && (keep || size !== undefined))
    throw new UsageError('--size and --keep are for the disk that demo makes where there is no STORE');
  if (data === undefined) return;
  if (guest === 'built-in') throw new UsageError('--data: the built-in front end works for a fixed time: leave it out');
  if (store === undefined) checkData(data, size ?? SIZE_DEFAULT, `--size ${formatSize(size ?? SIZE_DEFAULT)}`);
}

function checkData(data: number, sizeBytes: number, what: string): void {
  const enough = DISK_PER_DATA * data * MIB;
  if (sizeBytes < enough)
    throw new UsageError(`${what}: --data ${data} needs a disk of at least ${formatSize(enough)}`);
}

/** Whether a guest with a kernel can run here without installing anything. */
async function hasLinux({ guest }: DemoResult): Promise<boolean> {
  if (guest.name !== 'built-in') return true;
  return await findGuestPeer({ fetch: false }).then(
    () => true,
    () => false,
  );
}
