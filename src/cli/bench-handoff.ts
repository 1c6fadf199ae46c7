// cli: `belfry bench handoff`.
import { Command } from 'commander';
import { benchHandoff, type HandoffOptions } from '../../bench/handoff/handoff.ts';
import { handoffPage } from '../../bench/handoff/handoff-page.ts';
import type { HandoffResult } from '../../bench/handoff/handoff-result.ts';
import { formatHandoffBench } from '../../bench/handoff/handoff-table.ts';
import { chooseProcessors, keepProcessOn } from '../../bench/placement.ts';
import { parseSize } from '../stores/size.ts';
import { runBench } from './bench-run.ts';
import { commandName } from './command-name.ts';
import * as option from './options.ts';

interface HandoffFlags {
  readonly quick?: boolean;
  readonly rounds?: number;
  readonly requests?: number;
  readonly seconds?: number;
  readonly size: number;
  readonly cpus?: readonly number[];
  readonly json?: boolean;
  readonly html?: string;
}

const THOROUGH = { rounds: 10, requests: 100_000, seconds: 60 };
const QUICK = { rounds: 3, requests: 100_000, seconds: 0.4 };

const belfry = commandName();
const EXAMPLES = `
A dispatcher that parses every chain and passes requests to a worker through a locked queue (as hvisor-tool did before its change
#95), a dispatcher that only wakes the worker, and no dispatcher at all: the same driver, ring and disk, in turns.

Examples:
  ${belfry} bench handoff --quick
  ${belfry} bench handoff --html handoff.html
`;

export function handoffCommand(): Command {
  return new Command('handoff')
    .description('which thread should own a virtqueue: a worker, or a dispatcher that passes requests to it')
    .option('--quick', `in under 30 seconds: ${QUICK.rounds} rounds of at most ${QUICK.seconds} s`)
    .option('--rounds <n>', `rounds (default: ${THOROUGH.rounds})`, option.wholeNumber(1, 1000))
    .option(
      '--requests <n>',
      `requests a round (default: ${THOROUGH.requests.toLocaleString('en')})`,
      option.wholeNumber(1, 1e9),
    )
    .option('--seconds <s>', `how long a round may last (default: ${THOROUGH.seconds})`, option.seconds)
    .addOption(
      option.sizeOption('--size <size>', 'size of the disk in memory', option.diskSize(1 << 20), parseSize('256M')),
    )
    .option('--cpus <list>', "processors: the worker's, the driver's, the dispatcher's, as in 1,0,1", option.cpuList)
    .option('--json', 'print the results of every round as JSON')
    .option('--html <file>', 'write the results as an HTML page')
    .addHelpText('after', EXAMPLES)
    .action(runHandoff);
}

async function runHandoff(flags: HandoffFlags): Promise<void> {
  const base = flags.quick ? QUICK : THOROUGH;
  // With two processors only, the back end's two threads share one, and the driver has its own as a guest would.
  const [worker = 0, driver = worker, dispatcher = worker] = flags.cpus ?? chooseProcessors();
  keepProcessOn(driver);
  const options: HandoffOptions = {
    rounds: flags.rounds ?? base.rounds,
    bounds: { requests: flags.requests ?? base.requests, seconds: flags.seconds ?? base.seconds },
    diskBytes: flags.size,
    cpus: { worker, driver, dispatcher },
  };
  await runBench((hooks) => benchHandoff({ ...options, ...hooks }), {
    json: flags.json === true,
    ...(flags.html === undefined ? {} : { html: flags.html }),
    format: formatHandoffBench,
    page: handoffPage,
    hasErrors: ({ cases }: HandoffResult) => cases.some(({ designs }) => designs.some(({ errors }) => errors > 0)),
  });
}
