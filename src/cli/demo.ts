// Upper floor: `belfry demo`: the main job on whatever this machine has, in under 20 seconds.
import { Command, Option } from 'commander';
import pc from 'picocolors';
import { GUEST_NAMES, type GuestName } from '../../demo/demo-guest.ts';
import { type Audience, type DemoOptions, type DemoResult, DISK_PER_DATA, runDemo } from '../../demo/run-demo.ts';
import { formatSize, parseSize } from '../stores/size.ts';
import { DemoReport, formatDemo } from './demo-report.ts';
import { interruptSignal } from './interrupt.ts';
import * as option from './options.ts';
import { UsageError } from './usage-error.ts';

interface DemoFlags {
  readonly guest?: GuestName;
  readonly size: number;
  readonly data?: number;
  readonly keep: boolean;
  readonly json: boolean;
}

const EXAMPLES = `
It makes a sparse disk, serves it over vhost-user, and boots a Linux that partitions, formats, fills, reads back and
checks it. Where User-Mode Linux is not installed it is downloaded into the cache folder; the system is not changed.
Exit code 0 only when every checksum matched.

Examples:
  belfry demo
  belfry demo --guest qemu
  belfry demo --size 2G --data 128 --keep
  belfry demo --json | jq .device
`;

const MIB = 2 ** 20;

export function demoCommand(): Command {
  return new Command('demo')
    .description('see it work: a real Linux on a disk that is served from here')
    .addOption(new Option('--guest <name>', 'who drives the disk (default: the best there is)').choices(GUEST_NAMES))
    .option('--size <size>', 'size of the disk, as in 512M', option.diskSize(parseSize('32M')), parseSize('512M'))
    .option('--data <MiB>', 'MiB a Linux writes in each of two ways', option.wholeNumber(4, 4096))
    .option('--keep', 'keep the disk, and say where it is', false)
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DemoFlags) => demo(flags));
}

async function demo(flags: DemoFlags): Promise<void> {
  checkFlags(flags);
  const signal = interruptSignal();
  const { guest, size, data, keep } = flags;
  const options: DemoOptions = {
    sizeBytes: size,
    keep,
    signal,
    ...(guest === undefined ? {} : { guest }),
    ...(data === undefined ? {} : { dataMiB: data }),
  };
  let result: DemoResult;
  try {
    result = await (flags.json ? runDemo(options, onlyNotes) : runForPeople(options));
  } catch (error) {
    if (!signal.aborted) throw error;
    console.error('belfry: interrupted; the guest is stopped and the disk removed');
    return;
  }
  console.log(flags.json ? JSON.stringify(result, undefined, 2) : formatDemo(result));
  if (!result.ok) process.exitCode = 1;
}

async function runForPeople(options: DemoOptions): Promise<DemoResult> {
  using report = new DemoReport();
  console.log(`${pc.bold('Belfry')} serves a disk, and a guest puts it to the test.\n`);
  return await runDemo(options, report);
}

/** Keeps standard output to the result. */
const onlyNotes: Audience = {
  doing() {},
  done() {},
  step() {},
  note: (line) => console.error(`belfry: ${line}`),
};

function checkFlags({ guest, data, size }: DemoFlags): void {
  if (data === undefined) return;
  if (guest === 'built-in') throw new UsageError('--data: the built-in front end works for a fixed time: leave it out');
  const enough = DISK_PER_DATA * data * MIB;
  if (size < enough)
    throw new UsageError(`--size ${formatSize(size)}: --data ${data} needs a disk of at least ${formatSize(enough)}`);
}
