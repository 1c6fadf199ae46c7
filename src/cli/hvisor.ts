// cli: `belfry hvisor`: serves the devices of hvisor's zones in place of hvisor-tool's daemon.
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { HvisorDaemon, type HvisorSnapshot } from '../daemon/hvisor/hvisor-daemon.ts';
import { parseZonesFile, type Zone, type ZonesFile } from '../daemon/hvisor/zones-file.ts';
import { LimitedLog } from '../sys/limited-log.ts';
import { openHvisor } from '../transports/hvisor/hvisor-port.ts';
import type { About } from '../virtio/log.ts';
import { commandName } from './command-name.ts';
import { FakeHvisor } from './hvisor-fake.ts';
import { askStatus, StatusSocket } from './hvisor-status.ts';
import { interruptSignal } from './interrupt.ts';
import { asUsage, UsageError } from './usage-error.ts';

const CONTROL = '/run/belfry-hvisor.sock';

const belfry = commandName();
const EXAMPLES = `
FILE is the virtio_cfg.json of hvisor-tool as it is. Start this before the zones, in place of "hvisor virtio start FILE".

Examples:
  ${belfry} hvisor check virtio_cfg.json
  ${belfry} hvisor start virtio_cfg.json
  ${belfry} hvisor start virtio_cfg.json --fake
  ${belfry} hvisor status
`;

interface StartFlags {
  readonly fake?: boolean;
  readonly device: string;
  readonly control?: string;
}

export function hvisorCommand(): Command {
  const command = new Command('hvisor').description('serve the zones of hvisor').addHelpText('after', EXAMPLES);
  command
    .command('check')
    .description('check a zones file, without hvisor')
    .argument('<file>', 'the zones file')
    .addHelpText('after', `\nExamples:\n  ${belfry} hvisor check virtio_cfg.json\n`)
    .action(check);
  command
    .command('start')
    .description('serve the devices of a zones file until SIGTERM')
    .argument('<file>', 'the zones file')
    .option('--fake', 'without hvisor: a stand-in, and a zone that reads each disk once')
    .addOption(new Option('--device <path>', 'the device of hvisor.ko').default('/dev/hvisor'))
    .addOption(new Option('--control <path>', `the socket for status (default: ${CONTROL}; none with --fake)`))
    .addHelpText('after', `\nExamples:\n  ${belfry} hvisor start virtio_cfg.json\n`)
    .action(start);
  command
    .command('status')
    .description('what the running daemon has served, as JSON')
    .addOption(new Option('--control <path>', 'its socket').default(CONTROL))
    .addHelpText('after', `\nExamples:\n  ${belfry} hvisor status\n`)
    .action(async ({ control }: { readonly control: string }) => console.log(await askStatus(control)));
  return command;
}

function read(path: string): ZonesFile {
  try {
    return parseZonesFile(path, readFileSync(path, 'utf8'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? asUsage(error) : new UsageError(`${path}: ${code}: a zones file is wanted`);
  }
}

function check(path: string): void {
  const { zones, notes } = read(path);
  for (const note of notes) console.error(`belfry: ${note}`);
  for (const zone of zones) console.log(zoneLine(zone));
}

function zoneLine({ id, memory, devices }: Zone): string {
  const mib = memory.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / 2 ** 20;
  const list = devices.map(({ type, address, irq }) => `${type} at 0x${address.toString(16)} (irq ${irq})`);
  return `zone ${id}: ${mib} MiB in ${counted(memory.length, 'region')}; ${list.join(', ') || 'no device'}`;
}

async function start(path: string, flags: StartFlags): Promise<void> {
  const file = read(path);
  const log = (line: string): void => console.error(`belfry: ${line}`);
  for (const note of file.notes) log(note);
  const signal = interruptSignal();
  const control = flags.control ?? (flags.fake ? undefined : CONTROL);
  let daemon: HvisorDaemon | undefined;
  // Before the device is opened: another daemon's page would be replaced by ours.
  using _status = control === undefined ? undefined : new StatusSocket(control, () => daemon?.snapshot());
  using fake = flags.fake ? new FakeHvisor(file) : undefined;
  const lines = new LimitedLog<About>(log);
  daemon = await HvisorDaemon.start({ port: fake?.open() ?? openHvisor(flags.device), file, log: lines.log });
  const { devices } = daemon.snapshot();
  console.log(`serving ${counted(devices.length, 'device')} of ${counted(file.zones.length, 'zone')}`);
  for await (const line of fake?.play(daemon.loop) ?? []) console.log(line);
  await aborted(signal);
  log('stopping: a zone that accesses a device from now on waits until a daemon is started');
  const last = daemon.snapshot();
  await daemon.close();
  lines.flush();
  console.log(summary(last));
  process.exitCode = 0;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function summary({ bridge, devices }: HvisorSnapshot): string {
  const requests = devices.reduce((sum, device) => sum + device.requests, 0);
  const { injected, repeated, lateWakeups } = bridge;
  return `${counted(requests, 'request')}, ${bridge.requests} accesses, ${counted(injected, 'interrupt')} (${repeated} repeated), ${lateWakeups} late wake-ups`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
