// cli: `belfry shell`: a prompt in a real Linux that has the disk as /dev/vda, or commands from standard input.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { ServedStore, StoreError } from '../../demo/served-store.ts';
import type { FetchOptions } from '../../guests/fetch-options.ts';
import { findGuestPeer } from '../../guests/find-guest-peer.ts';
import { type GuestPeer, PeerMissingError } from '../../guests/guest-peer.ts';
import { prepareShellFiles } from '../../guests/prepare-shell.ts';
import { findQemu } from '../../guests/qemu.ts';
import { expectSocket } from '../../guests/run-guest.ts';
import { NoShellError, runShell, SHELL_MEMORY_MIB, type ShellRun } from '../../guests/run-shell.ts';
import { findUserModeLinux } from '../../guests/uml.ts';
import { commandName } from './command-name.ts';
import { interruptSignal, logInterrupted } from './interrupt.ts';
import * as option from './options.ts';
import { ShellTerminal } from './shell-terminal.ts';
import { UsageError } from './usage-error.ts';

interface ShellFlags {
  readonly socket: readonly string[];
  readonly command?: string;
  readonly readOnly?: boolean;
  readonly guest?: 'uml' | 'qemu';
  readonly memory: number;
  readonly fio?: boolean;
  readonly prepare?: boolean;
}

const DISKS_MAX = 8;
const MIB = 2 ** 20;
const COMMANDS_BYTES_MAX = MIB;
const SERIAL = 'belfry-shell';
const SLOW_MS = 10_000;

const finders = { uml: findUserModeLinux, qemu: findQemu } as const;

const belfry = commandName();
const EXAMPLES = `
A Linux is booted with the disks as /dev/vda, /dev/vdb, … : every STORE, as ${belfry} serve blk takes it, then every --socket,
of any vhost-user-blk back end. It has busybox, mkfs.ext4, e2fsck, sfdisk and blkdiscard, and its files are gone afterwards.

On a terminal there is a prompt; exit ends it, and Ctrl-A x at once. Otherwise standard input is a list of commands: what
they print is printed, and the exit code is that of the last.

Examples:
  ${belfry} shell disk.img
  ${belfry} shell ./my-disk.ts mem:64M
  ${belfry} shell --socket /tmp/disk.sock
  ${belfry} shell disk.img --read-only -c 'mount -o ro /dev/vda1 /mnt && ls -l /mnt'
  echo 'dd if=/dev/vda bs=1M count=1 2>/dev/null | sha256sum' | ${belfry} shell disk.img
`;

export function shellCommand(): Command {
  const sockets: string[] = [];
  return new Command('shell')
    .description('a prompt in a real Linux that has the disk')
    .argument('[store...]', 'where the data of the disks is')
    .addOption(
      new Option('--socket <path>', 'a back end that runs already; may be repeated')
        .argParser((path: string) => {
          sockets.push(path);
          return sockets;
        })
        .default(sockets, 'none'),
    )
    .option('-c, --command <text>', 'run this instead of a prompt')
    .option('--read-only', 'refuse writes to every STORE')
    .addOption(new Option('--guest <name>', 'the guest (default: the best there is)').choices(['uml', 'qemu']))
    .addOption(
      option.sizeOption('--memory <size>', 'memory of the guest', option.diskSize(64 * MIB), SHELL_MEMORY_MIB * MIB),
    )
    .option('--fio', 'put fio into the guest, which makes the start slower')
    .option('--prepare', `only get what the commands that ${belfry} serve prints need: a kernel and an initramfs`)
    .addHelpText('after', EXAMPLES)
    .action(async (stores: string[], flags: ShellFlags) => (flags.prepare ? prepare(flags) : shell(stores, flags)));
}

async function shell(stores: readonly string[], flags: ShellFlags): Promise<void> {
  checkDisks(stores, flags);
  const commands = await commandsOf(flags);
  const signal = interruptSignal();
  try {
    await using disks = await openDisks(stores, flags, signal);
    const session = { diskNames: [...stores, ...flags.socket], ...(commands === undefined ? {} : { commands }) };
    const run = {
      session,
      sockets: disks.sockets,
      memoryMiB: Math.floor(flags.memory / MIB),
      withFio: flags.fio === true || /\bfio\b/.test(new TextDecoder().decode(commands)),
    };
    process.exitCode = await bootAny(flags.guest, run, AbortSignal.any([signal, ...disks.ends]));
  } catch (error) {
    if (signal.aborted) return logInterrupted('the guest is stopped');
    if (error instanceof StoreError && error.exitCode === 2) throw new UsageError(error.message);
    throw error;
  }
}

/** Makes the files for each guest that can run here. Throws PeerMissingError where none can. */
async function prepare({ guest }: ShellFlags): Promise<void> {
  const signal = interruptSignal();
  const missing: string[] = [];
  const wanted = guest === undefined ? (['uml', 'qemu'] as const) : [guest];
  for (const name of wanted) {
    try {
      const peer = await finders[name]({ note: log, signal, withDevices: true });
      const { kernel, initramfs } = await prepareShellFiles(peer, { note: log, signal });
      console.log(`${peer.description}\n  kernel     ${kernel}\n  initramfs  ${initramfs}`);
    } catch (error) {
      if (!(error instanceof PeerMissingError)) throw error;
      missing.push(error.message);
    }
  }
  if (missing.length === wanted.length) throw new PeerMissingError(missing.join('; '));
  for (const line of missing) log(line);
}

function checkDisks(stores: readonly string[], { socket, readOnly }: ShellFlags): void {
  const count = stores.length + socket.length;
  if (count === 0)
    throw new UsageError(`shell needs a disk: ${commandName()} shell disk.img, or mem:64M, or --socket PATH`);
  if (count > DISKS_MAX) throw new UsageError(`shell takes up to ${DISKS_MAX} disks, not ${count}`);
  if (readOnly && stores.length === 0)
    throw new UsageError('--read-only is for a STORE: for a back end, give --read-only where it is started');
}

/** Returns the commands to run; undefined for a prompt. Throws UsageError beyond 1 MiB. */
async function commandsOf({ command }: ShellFlags): Promise<Uint8Array | undefined> {
  if (command !== undefined) return new TextEncoder().encode(`${command}\n`);
  if (process.stdin.isTTY) return undefined;
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    sizeBytes += chunk.length;
    if (sizeBytes > COMMANDS_BYTES_MAX)
      throw new UsageError('standard input is the list of commands, up to 1 MiB; data goes into a second STORE');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

interface OpenDisks extends AsyncDisposable {
  readonly sockets: readonly string[];
  /** Each is aborted when a back end that this process started fails. */
  readonly ends: readonly AbortSignal[];
}

async function openDisks(stores: readonly string[], flags: ShellFlags, signal: AbortSignal): Promise<OpenDisks> {
  await using starting = new AsyncDisposableStack();
  const ours: ServedStore[] = [];
  for (const spec of stores) {
    const options = { spec, readOnly: flags.readOnly === true, serial: SERIAL, log, signal };
    const { store } = await ServedStore.start(options);
    ours.push(starting.use(store));
  }
  for (const socket of flags.socket) await expectSocket(socket);
  const served = starting.move();
  return {
    sockets: [...ours.map(({ socket }) => socket), ...flags.socket.map((socket) => resolve(socket))],
    ends: ours.map(({ ended }) => ended),
    [Symbol.asyncDispose]: () => served.disposeAsync(),
  };
}

type Run = Pick<ShellRun, 'sockets' | 'session' | 'memoryMiB' | 'withFio'>;

/** Boots `guest`, or the first that runs here. Returns the exit code of its shell. */
async function bootAny(guest: ShellFlags['guest'], run: Run, signal: AbortSignal): Promise<number> {
  const options: FetchOptions = { note: log, signal };
  if (guest !== undefined) return await boot(await finders[guest](options), run, signal);
  const peer = await findGuestPeer(options);
  try {
    return await boot(peer, run, signal);
  } catch (error) {
    if (!(error instanceof NoShellError) || error.hadBegun || peer.name === 'qemu') throw error;
    log(`User-Mode Linux does not run here: ${error.message}`);
    return await boot(await findQemu(options), run, signal);
  }
}

async function boot(peer: GuestPeer, run: Run, signal: AbortSignal): Promise<number> {
  const leaving = new AbortController();
  const { stdin: input, stdout: output, stderr: errors } = process;
  using terminal =
    run.session.commands === undefined ? new ShellTerminal({ input, output }, () => leaving.abort()) : undefined;
  const slow = setTimeout(() => log(`${peer.description} is still starting; Ctrl-C ends it`), SLOW_MS);
  const onBegin = (): void => {
    clearTimeout(slow);
    terminal?.take();
  };
  const typed = terminal === undefined ? {} : { input: terminal.keys };
  const session = { ...run.session, ...(terminal && { terminal: terminal.traits }) };
  try {
    const both = AbortSignal.any([signal, leaving.signal]);
    return await runShell(peer, { ...run, ...typed, session, output, errors, onBegin, note: log, signal: both });
  } catch (error) {
    if (!leaving.signal.aborted || signal.aborted) throw error;
    output.write('\r\n');
    return 0;
  } finally {
    clearTimeout(slow);
  }
}

function log(line: string): void {
  // A terminal may be in raw mode.
  process.stderr.write(`belfry: ${line}${process.stderr.isTTY ? '\r' : ''}\n`);
}
