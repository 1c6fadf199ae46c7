// guests: boots a peer on vhost-user-blk sockets, runs a scenario in it, and reports the result.
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GuestDisk, GuestStep } from './console-parser.ts';
import { ConsoleParser } from './console-parser.ts';
import type { FetchOptions } from './fetch-options.ts';
import type { GuestPeer } from './guest-peer.ts';
import type { GuestExit } from './guest-process.ts';
import { runGuestProcess } from './guest-process.ts';
import { guestPrograms } from './guest-programs.ts';
import { guestInitramfs, scriptEntry } from './initramfs.ts';
import type { ScenarioName } from './scenario.ts';
import { scenarioScript } from './scenario.ts';

export interface GuestRun extends FetchOptions {
  /** Listening vhost-user-blk sockets; the first becomes vda. */
  readonly sockets: readonly string[];
  readonly scenario: ScenarioName;
  /** Request queues on each disk; a peer uses at most its `maxQueues`. Default 1. */
  readonly queues?: number;
  /** `format-write-verify`: one partition (default), or the file system on the whole disk. */
  readonly partition?: boolean;
  /** `format-write-verify`: MiB written buffered and again O_DIRECT, on a disk of five times that. Default 16. */
  readonly dataMiB?: number;
  /** Memory of the guest for its content and page cache. Default four times `dataMiB`. */
  readonly contentMemoryMiB?: number;
  /** Without output for this long the guest counts as hanging; it prints a line each step. Default 60,000. */
  readonly silenceMs?: number;
  /** Every console line, as it comes. */
  readonly onLine?: (line: string) => void;
  /** Every step, as it ends. */
  readonly onStep?: (step: GuestStep) => void;
}

export interface GuestReport {
  readonly peer: GuestPeer['name'];
  readonly scenario: ScenarioName;
  /** The guest finished and every step succeeded. */
  readonly ok: boolean;
  /** What went wrong, in one line; '' when `ok`. */
  readonly problem: string;
  /** Release of the guest's kernel. */
  readonly kernel: string;
  readonly disks: readonly GuestDisk[];
  readonly steps: readonly GuestStep[];
  /** From starting the peer to the script's first line. */
  readonly bootMs: number;
  /** From starting the peer to its exit. */
  readonly totalMs: number;
  /** The last lines of the console. */
  readonly consoleTail: readonly string[];
}

const DEFAULT_DATA_MIB = 16;
const DEFAULT_SILENCE_MS = 60_000;
const TAIL_LINES = 40;
// A kernel, the unpacked programs, and page cache enough for mkfs and fsck.
const BASE_MEMORY_MIB = 128;

/**
 * Boots `peer` and waits for it. A guest that fails, hangs or crashes makes a report that says so, not an exception.
 * Throws `PeerMissingError` when a program for the guest is missing, an Error when a socket is, and the signal's reason
 * when aborted.
 * Leaves no processes or files but those downloaded into the cache folder.
 */
export async function runGuest(peer: GuestPeer, run: GuestRun): Promise<GuestReport> {
  for (const socket of run.sockets) await expectSocket(socket);
  const folder = await mkdtemp(join(tmpdir(), 'belfry-guest-'));
  try {
    const initramfs = join(folder, 'initramfs');
    await writeFile(initramfs, await initramfsFor(peer, run));
    const own = join(folder, 'own');
    await mkdir(own);
    return await boot(peer, run, initramfs, own);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Throws an Error where there is no socket: a guest would wait for ever. */
export async function expectSocket(path: string): Promise<void> {
  const status = await stat(path).catch(() => undefined);
  if (!status?.isSocket()) throw new Error(`there is no socket at ${path}: start the back end first`);
}

/** MiB a second of a step that moved data, 0 for one that did not. */
export function stepRateMiB(step: GuestStep): number {
  return step.ms > 0 ? step.sizeBytes / 2 ** 20 / (step.ms / 1000) : 0;
}

async function initramfsFor(peer: GuestPeer, run: GuestRun): Promise<Uint8Array> {
  const scenario = {
    name: run.scenario,
    disks: run.sockets.length,
    partition: run.partition ?? true,
    dataMiB: run.dataMiB ?? DEFAULT_DATA_MIB,
  };
  const moduleNames = peer.modules.map((module) => module.name);
  const init = scriptEntry('init', scenarioScript(scenario, moduleNames));
  return guestInitramfs({ files: [...(await guestPrograms(run)), init], modules: peer.modules });
}

async function boot(peer: GuestPeer, run: GuestRun, initramfs: string, folder: string): Promise<GuestReport> {
  const parser = new ConsoleParser();
  const consoleTail: string[] = [];
  const begin = performance.now();
  let bootMs = 0;
  const onLine = (line: string): void => {
    const text = line.trimEnd();
    run.onLine?.(text);
    consoleTail.push(text);
    if (consoleTail.length > TAIL_LINES) consoleTail.shift();
    const step = parser.accept(text);
    if (bootMs === 0 && parser.kernel !== '') bootMs = performance.now() - begin;
    if (step) run.onStep?.(step);
  };
  const silenceMs = run.silenceMs ?? DEFAULT_SILENCE_MS;
  const command = peer.command({
    sockets: run.sockets,
    queues: Math.min(run.queues ?? 1, peer.maxQueues),
    // The content is in memory once, and again in the page cache.
    memoryMiB: BASE_MEMORY_MIB + (run.contentMemoryMiB ?? 4 * (run.dataMiB ?? DEFAULT_DATA_MIB)),
    initramfs,
    folder,
  });
  const exit = await runGuestProcess(command, { silenceMs, onLine, ...(run.signal && { signal: run.signal }) });
  const problem = problemOf(parser, exit, silenceMs);
  return {
    peer: peer.name,
    scenario: run.scenario,
    ok: problem === '',
    problem,
    kernel: parser.kernel,
    disks: parser.disks,
    steps: parser.steps,
    bootMs,
    totalMs: performance.now() - begin,
    consoleTail,
  };
}

function problemOf(parser: ConsoleParser, exit: GuestExit, silenceMs: number): string {
  const failed = parser.steps.find((step) => !step.ok);
  if (failed?.name === 'appears')
    return `the guest saw no disk ${failed.disk}: its driver and the back end did not agree`;
  if (failed)
    return `the guest's step ${failed.name}${failed.disk && ` on ${failed.disk}`} failed: ${parser.lastWords}`;
  if (parser.outcome === 'ok') return '';
  const last = parser.steps.at(-1);
  const where = last ? `after its step ${last.name}` : parser.kernel ? 'before its first step' : 'while it booted';
  if (exit.kind === 'silent') return `the guest printed nothing for ${silenceMs / 1000} s: it stopped ${where}`;
  return `the guest ended early, ${where} (exit code ${exit.code ?? 'none, killed'}): see the end of its console`;
}
