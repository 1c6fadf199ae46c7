// guests: boots a peer on vhost-user-blk sockets with a shell in it, interactive or for commands from a file.
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FetchOptions } from './fetch-options.ts';
import type { GuestPeer } from './guest-peer.ts';
import { SECOND_LINE_FD } from './guest-peer.ts';
import { runInGroup } from './guest-process.ts';
import { FIO, guestPrograms, programsWithLibraries } from './guest-programs.ts';
import { guestInitramfs } from './initramfs.ts';
import { MarkedConsole } from './marked-console.ts';
import { type ShellSession, sessionEntries, shellEntries } from './shell-script.ts';

export interface ShellRun extends FetchOptions {
  /** Listening vhost-user-blk sockets, the first becomes vda; up to eight. */
  readonly sockets: readonly string[];
  readonly session: Omit<ShellSession, 'mark'>;
  readonly memoryMiB: number;
  /** Whether the guest has fio, which takes 90 MiB with its libraries. */
  readonly withFio: boolean;
  /** Typed input, read once the session has begun. Not used where there are commands. */
  readonly input?: Readable;
  /** Receives the output of the session. */
  readonly output: Writable;
  /** Receives the standard error of the commands. */
  readonly errors: Writable;
  /** Called when the session begins. */
  readonly onBegin?: () => void;
}

/** The guest ended without a shell's exit code; the message says when, with the end of its console. */
export class NoShellError extends Error {
  readonly code = 'NO_SHELL';
  /** The shell had started before the guest ended. */
  readonly hadBegun: boolean;

  constructor(message: string, hadBegun: boolean) {
    super(message);
    this.hadBegun = hadBegun;
  }
}

/** Memory for the kernel and the user's commands. The initramfs, with fio and its libraries, is in it too. */
export const SHELL_MEMORY_MIB = 256;
const FIO_MEMORY_MIB = 192;
const BOOT_LINES = 8;
const COMPLAINTS_CHARS_MAX = 4096;

/**
 * Boots `peer` and returns the exit code of the shell: that of `exit`, or of the last command; 0 where the guest was
 * powered off. Throws `NoShellError`, `PeerMissingError` when a program for the guest is missing, and the signal's
 * reason when aborted. Leaves no processes or files but those downloaded into the cache folder.
 */
export async function runShell(peer: GuestPeer, run: ShellRun): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'belfry-guest-'));
  try {
    const session = { mark: `BELFRY-${randomBytes(8).toString('hex')}`, ...run.session };
    const initramfs = join(folder, 'initramfs');
    await writeFile(initramfs, await shellInitramfs(peer, run, session));
    const own = join(folder, 'own');
    await mkdir(own);
    return await boot(peer, run, {
      initramfs,
      folder: own,
      console: new MarkedConsole(session.mark),
      complaints: { text: '' },
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Returns the initramfs of a shell; without `session`, of one that starts on the guest's console. */
export async function shellInitramfs(
  { modules, secondLine }: GuestPeer,
  { withFio, ...options }: FetchOptions & { readonly withFio: boolean },
  session?: ShellSession,
): Promise<Uint8Array> {
  const names = modules.map((module) => module.name);
  const files = [
    ...(await guestPrograms(options)),
    ...(withFio ? await programsWithLibraries([FIO], options) : []),
    ...shellEntries(names, secondLine),
    ...(session === undefined ? [] : sessionEntries(session)),
  ];
  return guestInitramfs({ files, modules });
}

interface Place {
  readonly initramfs: string;
  readonly folder: string;
  readonly console: MarkedConsole;
  /** What the program itself wrote on its standard error. */
  readonly complaints: { text: string };
}

async function boot(peer: GuestPeer, run: ShellRun, place: Place): Promise<number> {
  const { initramfs, folder } = place;
  const { sockets, signal, withFio } = run;
  const memoryMiB = run.memoryMiB + (withFio ? FIO_MEMORY_MIB : 0);
  const command = peer.command({ sockets, queues: 1, memoryMiB, initramfs, folder, wiring: 'shell' });
  const broken = new AbortController();
  const signals = [broken.signal, ...(signal === undefined ? [] : [signal])];
  let streams: Promise<unknown> = Promise.resolve();
  const code = await runInGroup(command, {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    signal: AbortSignal.any(signals),
    attach: (child) => {
      streams = connect(child, place, run).catch((error: Error) => broken.abort(error));
    },
  });
  await streams;
  broken.signal.throwIfAborted();
  return codeOf(place, code);
}

/** Fulfilled when all output of the guest is written. Rejects when the reader is gone. */
async function connect(child: ChildProcess, { console, complaints }: Place, run: ShellRun): Promise<void> {
  const secondLine = child.stdio[SECOND_LINE_FD] as Duplex;
  const hasCommands = run.session.commands !== undefined;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaints.text = (complaints.text + text).slice(-COMPLAINTS_CHARS_MAX);
  });
  // The guest may end while input is written to it.
  child.stdin?.on('error', () => {});
  secondLine.on('error', () => {});
  console.begun.then(() => {
    run.onBegin?.();
    if (child.stdin !== null) run.input?.pipe(child.stdin);
  });
  const stdout = child.stdout as Readable;
  const ends = { end: false };
  await Promise.all([
    pipeline(stdout, console, hasCommands ? run.errors : run.output, ends),
    hasCommands ? pipeline(secondLine, run.output, ends) : secondLine.resume() && once(secondLine, 'close'),
  ]);
}

function codeOf({ console, complaints }: Place, code: number | null): number {
  if (console.exitCode !== undefined) return console.exitCode;
  if (console.hasBegun && code === 0) return 0;
  const said = [...console.bootLines(BOOT_LINES), ...complaints.text.split('\n').filter((line) => line !== '')];
  const last = said.slice(-BOOT_LINES).join(' | ') || 'it printed nothing';
  const when = console.hasBegun ? 'while its shell ran' : 'before there was a shell';
  throw new NoShellError(`the guest ended ${when} (exit code ${code ?? 'none, killed'}): ${last}`, console.hasBegun);
}
