// cli: `belfry ctl`: shows and changes what a daemon serves, through its control socket alone.
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { ControlClient } from '../daemon/control/control-client.ts';
import { type ControlEvent, LEVELS, type MethodName, type ParamsOf, type ResultOf } from '../daemon/control/methods.ts';
import { type Limit, SCOPES } from '../stores/filters/limits.ts';
import { parseSize } from '../stores/size.ts';
import { printable } from '../sys/limited-log.ts';
import { commandName } from './command-name.ts';
import { limitTable, listTable, queueTable, statsTable, type Totals } from './ctl-tables.ts';
import * as option from './options.ts';
import { asUsage, UsageError } from './usage-error.ts';

const belfry = commandName();
const CONTROL_VARIABLE = 'BELFRY_CONTROL';
const CLEAR_SCREEN = '\u001b[H\u001b[2J';

const EXAMPLES = `
PATH is the socket of "--control PATH" of the daemon, or of "SOCKET.control" of a supervised one. It can be left out where
${CONTROL_VARIABLE} has it. A device is called as "ctl ls" has it: after the file of its socket, or as in the file of "up".

Examples:
  ${belfry} serve blk disk.img --socket /tmp/disk.sock --control /tmp/belfry.control
  ${belfry} ctl ls --control /tmp/belfry.control
  export ${CONTROL_VARIABLE}=/tmp/belfry.control
  ${belfry} ctl stats --watch
  ${belfry} ctl resize disk 20G
  ${belfry} ctl limit disk iops=500,bps=10M
`;

interface Flags {
  readonly control?: string;
  readonly json: boolean;
}

/** Calls a method of the daemon, and prints its result. Rejects with one line. */
async function run<Name extends MethodName>(
  flags: Flags,
  method: Name,
  params: ParamsOf<Name>,
  show: (result: ResultOf<Name>) => readonly string[],
): Promise<void> {
  using client = await connect(flags);
  const result = await client.call(method, params);
  for (const line of flags.json ? [JSON.stringify(result)] : show(result).map(printable)) console.log(line);
}

async function connect({ control = process.env[CONTROL_VARIABLE] }: Flags): Promise<ControlClient> {
  if (control === undefined)
    throw new UsageError(`--control PATH (or ${CONTROL_VARIABLE}) is needed: where the daemon listens`);
  try {
    return await ControlClient.connect(control);
  } catch (error) {
    const { code, message } = error as Error & { readonly code?: string };
    const isNobody = code === 'ENOENT' || code === 'ECONNREFUSED';
    throw new Error(
      isNobody
        ? `--control ${control}: no daemon listens: was it started with "--control ${control}"?`
        : `--control ${control}: ${message}`,
    );
  }
}

/** A command of `ctl`. `example` is its words after `belfry ctl`. */
function command(words: string, description: string, example: string): Command {
  return new Command(words.split(' ')[0])
    .usage(`[options] ${words.split(' ').slice(1).join(' ')}`.trim())
    .description(description)
    .option('--control <path>', 'the control socket of the daemon')
    .option('--json', 'print the answer as it came, one object', false)
    .addHelpText('after', `\nExamples:\n  ${belfry} ctl ${example} --control /tmp/belfry.control\n`);
}

const none = (): readonly string[] => [];
const ofDevice = (device: string | undefined): { readonly device?: string } => (device === undefined ? {} : { device });

function reading(): Command[] {
  return [
    command('version', 'show which Belfry it is', 'version').action((flags: Flags) =>
      run(flags, 'version', {}, ({ belfry: version, protocol, pid }) => [
        `Belfry ${version}, protocol ${protocol}, process ${pid}`,
      ]),
    ),
    command('ls', 'list what is served', 'ls').action((flags: Flags) =>
      run(flags, 'list', {}, ({ devices }) => listTable(devices)),
    ),
    command('stats', 'show what the devices do a second', 'stats --watch')
      .argument('[device]', 'only this one')
      .option('--watch [seconds]', 'again and again, every second or so many', option.seconds)
      .action((device: string | undefined, flags: Flags & { readonly watch?: number | true }) => stats(device, flags)),
    command('queues', 'show every queue: its ring, its indices, what is in flight', 'queues disk')
      .argument('[device]', 'of which device; needed where there are several')
      .action((device: string | undefined, flags: Flags) =>
        run(flags, 'queues', ofDevice(device), ({ queues }) =>
          queues.length === 0 ? ['no queue runs'] : queueTable(queues),
        ),
      ),
    command('events', 'print events as they happen', 'events')
      .addOption(new Option('--level <level>', 'of this level and above').choices(LEVELS).default('info'))
      .action(events),
  ];
}

function changing(): Command[] {
  return [
    command('resize', 'make a disk larger', 'resize disk 20G')
      .argument('<device>')
      .argument('[size]', 'such as 20G; without it, the size of the store is read again')
      .action((device: string, size: string | undefined, flags: Flags) => resize(device, size, flags)),
    command('pause', 'take no more requests of a disk; its guest waits', 'pause disk')
      .argument('<device>')
      .action((device: string, flags: Flags) => run(flags, 'pause', { device }, none)),
    command('resume', 'end a pause', 'resume disk')
      .argument('<device>')
      .action((device: string, flags: Flags) => run(flags, 'resume', { device }, none)),
    command('limit', 'show or set the limits of a disk', 'limit disk iops=500,bps=10M')
      .argument('<device>')
      .argument('[limit]', 'iops=500,bps=10M,burst=2, or "off"', limitWord)
      .addOption(new Option('--of <scope>', 'what is limited').choices(SCOPES).default('all'))
      .action(limit),
    command('retry', 'try requests again that are held after an error', 'retry disk')
      .argument('<device>')
      .action((device: string, flags: Flags) => run(flags, 'retry', { device }, none)),
    command('log-level', 'show or set from which level on lines are logged', 'log-level warning')
      .argument('[level]', LEVELS.join(', '))
      .action((level: string | undefined, flags: Flags) => {
        const wanted = LEVELS.find((one) => one === level);
        if (level !== undefined && wanted === undefined)
          throw new UsageError(`${level} is no level: ${LEVELS.join(', ')}`);
        return run(flags, 'log-level', { ...(wanted && { level: wanted }) }, (result) => [result.level ?? '']);
      }),
    command('upgrade', 'have a new version take over, with --supervise', 'upgrade').action((flags: Flags) =>
      run(flags, 'upgrade', {}, ({ version }) => [`Belfry ${version} serves`]),
    ),
    command('quit', 'end the daemon, as SIGTERM does', 'quit').action((flags: Flags) => run(flags, 'quit', {}, none)),
  ];
}

async function resize(device: string, size: string | undefined, flags: Flags): Promise<void> {
  let sizeBytes: number | undefined;
  try {
    sizeBytes = size === undefined ? undefined : parseSize(size);
  } catch (error) {
    throw asUsage(error);
  }
  const params = { device, ...(sizeBytes !== undefined && { sizeBytes }) };
  await run(flags, 'resize', params, (result) => [`${device} has ${result.sizeBytes} bytes`]);
}

const limitWord = (text: string): Limit => (text === 'off' ? { iops: 0, bps: 0 } : option.limit(text));

async function limit(
  device: string,
  set: Limit | undefined,
  flags: Flags & { readonly of: (typeof SCOPES)[number] },
): Promise<void> {
  await run(flags, 'limits', { device, scope: flags.of, ...set }, ({ limits }) => limitTable(limits));
}

/** The first table is of the time since the start, as that of iostat. */
async function stats(device: string | undefined, flags: Flags & { readonly watch?: number | true }): Promise<void> {
  using client = await connect(flags);
  const { devices: listed } = await client.call('list', {});
  const upMs = Math.max(1, ...listed.map((one) => one.upMs));
  let before: readonly Totals[] = [];
  let beforeMs: number | undefined;
  for (;;) {
    const answer = await client.call('stats', ofDevice(device));
    const seconds = (beforeMs === undefined ? upMs : answer.nowMs - beforeMs) / 1000;
    const lines = flags.json ? [JSON.stringify(answer)] : statsTable(answer.devices, before, seconds).map(printable);
    if (flags.watch !== undefined && process.stdout.isTTY && !flags.json) process.stdout.write(CLEAR_SCREEN);
    process.stdout.write(`${lines.join('\n')}\n`);
    if (flags.watch === undefined) return;
    [before, beforeMs] = [answer.devices, answer.nowMs];
    await Promise.race([sleep(1000 * (flags.watch === true ? 1 : flags.watch)), client.ended]);
    if (process.stdout.destroyed) return;
  }
}

async function events(flags: Flags & { readonly level: (typeof LEVELS)[number] }): Promise<void> {
  using client = await connect(flags);
  client.onEvent = (event) => console.log(flags.json ? JSON.stringify(event) : eventLine(event));
  await client.call('subscribe', { level: flags.level });
  await client.ended;
}

function eventLine({ time, device, event, level, line }: ControlEvent): string {
  return printable(`${time} ${level.padEnd(7)} ${device ?? '-'} ${event}: ${line}`);
}

export function ctlCommand(): Command {
  const ctl = new Command('ctl')
    .description('show and change what a daemon serves, over its control socket')
    .addHelpText('after', EXAMPLES)
    .enablePositionalOptions();
  for (const one of [...reading(), ...changing()]) ctl.addCommand(one);
  return ctl;
}
