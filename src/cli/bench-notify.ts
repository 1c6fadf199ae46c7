// cli: `belfry bench notify`.
import { Command } from 'commander';
import { benchNotify, type NotifyOptions } from '../../bench/notify/notify.ts';
import { notifyPage } from '../../bench/notify/notify-page.ts';
import type { NotifyResult } from '../../bench/notify/notify-result.ts';
import { formatNotifyBench } from '../../bench/notify/notify-table.ts';
import { chooseProcessors, keepProcessOn } from '../../bench/placement.ts';
import { POLL_MAX_US } from '../daemon/poll-mode.ts';
import { parseSize } from '../stores/size.ts';
import { runBench } from './bench-run.ts';
import { commandName } from './command-name.ts';
import * as option from './options.ts';

interface NotifyFlags {
  readonly quick?: boolean;
  readonly rounds?: number;
  readonly seconds?: number;
  readonly pollUs: number;
  readonly size: number;
  readonly cpus?: readonly number[];
  readonly json?: boolean;
  readonly html?: string;
}

const THOROUGH = { rounds: 10, seconds: 1 };
const QUICK = { rounds: 3, seconds: 0.1 };

const belfry = commandName();
const EXAMPLES = `
A driver and a device, two threads of this process, on one core and on two: the same queue, device and data, waking the device by
signal (as hvisor-tool did before its change #78) or by eventfd, with no polling, fixed polling and adaptive polling, in turns.

Examples:
  ${belfry} bench notify --quick
  ${belfry} bench notify --html notify.html
`;

export function notifyCommand(): Command {
  return new Command('notify')
    .description('what it costs to wake a device: signal or eventfd, asleep or polling')
    .option('--quick', `in under 30 seconds: ${QUICK.rounds} rounds of ${QUICK.seconds} s`)
    .option('--rounds <n>', `rounds (default: ${THOROUGH.rounds})`, option.wholeNumber(1, 1000))
    .option('--seconds <s>', `how long a round is (default: ${THOROUGH.seconds})`, option.seconds)
    .option('--poll-us <us>', 'how long fixed polling lasts, in µs', option.wholeNumber(1, POLL_MAX_US), 1000)
    .addOption(
      option.sizeOption('--size <size>', 'size of the disk in memory', option.diskSize(1 << 20), parseSize('256M')),
    )
    .option('--cpus <list>', "processors: the device's, then the driver's, as in 1,0", option.cpuList)
    .option('--json', 'print the results of every round as JSON')
    .option('--html <file>', 'write the results as an HTML page')
    .addHelpText('after', EXAMPLES)
    .action(runNotify);
}

async function runNotify(flags: NotifyFlags): Promise<void> {
  const [deviceCpu = 0, driverCpu] = flags.cpus ?? chooseProcessors();
  keepProcessOn(driverCpu);
  const options: NotifyOptions = {
    ...(flags.quick ? QUICK : THOROUGH),
    ...(flags.rounds !== undefined && { rounds: flags.rounds }),
    ...(flags.seconds !== undefined && { seconds: flags.seconds }),
    fixedPollUs: flags.pollUs,
    diskBytes: flags.size,
    deviceCpu,
    driverCpu,
  };
  await runBench((hooks) => benchNotify({ ...options, ...hooks }), {
    json: flags.json === true,
    ...(flags.html === undefined ? {} : { html: flags.html }),
    format: formatNotifyBench,
    page: notifyPage,
    hasErrors: ({ cases }: NotifyResult) => cases.some(({ variants }) => variants.some(({ errors }) => errors > 0)),
  });
}
