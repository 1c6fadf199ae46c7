// cli: `belfry doorbell`: what a notification costs on each path between a guest and this machine.
import { Command } from 'commander';
import { benchDoorbell } from '../../bench/doorbell/doorbell.ts';
import { formatDoorbellPage } from '../../bench/doorbell/doorbell-page.ts';
import { formatDoorbell } from '../../bench/doorbell/doorbell-table.ts';
import { chooseProcessors } from '../../bench/placement.ts';
import { runBench } from './bench-run.ts';
import { commandName } from './command-name.ts';
import * as option from './options.ts';

interface DoorbellFlags {
  readonly quick?: boolean;
  readonly json?: boolean;
  readonly html?: string;
  readonly cpus?: readonly number[];
}

const QUICK = { rounds: 5, runs: 3, limitMs: 15_000, warmUpRuns: 60 };
const WHOLE = { rounds: 11, runs: 10, limitMs: 180_000, warmUpRuns: 60 };

const belfry = commandName();
const EXAMPLES = `
A guest of a few instructions writes to its doorbell in a loop, on each path in turn. It needs /dev/kvm. It writes no file but --html.

Examples:
  ${belfry} doorbell --quick
  ${belfry} doorbell --html doorbell.html
  ${belfry} doorbell --json
`;

export function doorbellCommand(): Command {
  return new Command('doorbell')
    .description('measure what a doorbell costs: exits, ioeventfd, irqfd')
    .option('--quick', 'fewer rounds: less than 20 seconds')
    .option('--json', 'print the results of every round as JSON')
    .option('--html <file>', 'write the results as an HTML page')
    .option('--cpus <list>', "processors: the guest's, then the listener's, as in 1,0", option.cpuList)
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DoorbellFlags) => runDoorbell(flags));
}

async function runDoorbell({ quick, json, html, cpus }: DoorbellFlags): Promise<void> {
  const [vcpuCpu = 0, listenerCpu = vcpuCpu] = cpus ?? chooseProcessors();
  await runBench((hooks) => benchDoorbell({ ...(quick ? QUICK : WHOLE), vcpuCpu, listenerCpu, ...hooks }), {
    json: json === true,
    ...(html === undefined ? {} : { html }),
    format: formatDoorbell,
    page: formatDoorbellPage,
    hasErrors: () => false,
  });
}
