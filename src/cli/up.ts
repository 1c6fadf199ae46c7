// cli: `belfry up`: one process that serves the devices of a file.
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { ConfigError, checkConfig, type DaemonConfig } from '../daemon/config/check-config.ts';
import { printable } from '../sys/limited-log.ts';
import { commandName } from './command-name.ts';
import * as option from './options.ts';
import { count } from './quantities.ts';
import { OptionProblem, type PlannedDevice, planDevice } from './up-devices.ts';
import { runDevices, type UpOptions } from './up-run.ts';
import { UsageError } from './usage-error.ts';

const belfry = commandName();
const STOP_TIMEOUT_DEFAULT = 10;
/** A longer file is none of ours. */
const FILE_BYTES_MAX = 1 << 20;

const EXAMPLES = `
FILE is JSON, in which comments and trailing commas are allowed. Each device has the options of "serve" of its kind, by the same names.
Paths are relative to the folder where "up" is started. Every device has a thread of its own; one that fails ends alone.

SIGTERM and Ctrl-C end it after the requests in flight; a second one does not wait for them. SIGHUP, SIGCONT and SIGUSR2 mean for all
devices what they mean for "serve".

Examples:
  ${belfry} up --check belfry.jsonc
  ${belfry} up belfry.jsonc

A file:
  {
    "control": "/run/belfry/control",   // for "${belfry} ctl"
    "metrics": "9420",                  // for Prometheus
    "devices": {
      "web": { "kind": "blk", "store": "web.img", "socket": "/run/belfry/web.sock", "limit": "iops=500" },
      "entropy": { "kind": "rng", "socket": "/run/belfry/rng.sock" },
      "lan": { "kind": "net", "port": "tap:vm0", "socket": "/run/belfry/net.sock" },
    },
  }
`;

export function upCommand(): Command {
  return new Command('up')
    .description('serve all devices that a file lists')
    .argument('<file>', 'the devices, and what is common to them')
    .option('--check', 'only check the file: open nothing, serve nothing', false)
    .addHelpText('after', EXAMPLES)
    .action((file: string, { check }: { readonly check: boolean }) => up(file, check));
}

async function up(file: string, isCheck: boolean): Promise<void> {
  const { plans, options } = planned(file);
  if (isCheck) console.log(`${printable(file)}: ${count(plans.length, 'device')}, nothing is wrong`);
  else await runDevices(plans, options);
}

/** Reads the file. Prints all of its problems but the last one, which is thrown as a UsageError. */
function planned(file: string): { readonly plans: readonly PlannedDevice[]; readonly options: UpOptions } {
  try {
    const config = checkConfig(file, textOf(file));
    return { plans: plansOf(config), options: optionsOf(config) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const line of error.lines.slice(0, -1)) console.error(`belfry: ${printable(line)}`);
    throw new UsageError(error.lines.at(-1) ?? '');
  }
}

function textOf(file: string): string {
  try {
    const bytes = readFileSync(file);
    if (bytes.length > FILE_BYTES_MAX) throw new Error('it has more than 1 MiB');
    return bytes.toString('utf8');
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}`);
  }
}

/** Throws ConfigError with the problems of all devices. */
function plansOf({ devices, options, line }: DaemonConfig): PlannedDevice[] {
  const lines: string[] = [];
  const plans = devices.flatMap((device) => {
    try {
      return planDevice(device, options.control !== undefined);
    } catch (error) {
      if (!(error instanceof OptionProblem)) throw error;
      lines.push(line(error.problem));
      return [];
    }
  });
  if (lines.length > 0) throw new ConfigError(lines);
  return plans;
}

function optionsOf({ options, line }: DaemonConfig): UpOptions {
  const { control, metrics, log, json, quiet } = options;
  const common = {
    json: json === true,
    quiet: quiet === true,
    stopTimeout: Number(options['stop-timeout'] ?? STOP_TIMEOUT_DEFAULT),
    ...(typeof control === 'string' && { control }),
    ...(typeof log === 'string' && { log }),
  };
  if (typeof metrics !== 'string') return common;
  try {
    return { ...common, metrics: option.metricsAddress(metrics) };
  } catch (error) {
    throw new ConfigError([line({ path: ['metrics'], message: (error as Error).message })]);
  }
}
