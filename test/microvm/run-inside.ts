// test/microvm: runs test files where KVM is real: here, if it is, else in a bed.
import { globSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FetchOptions } from '../../guests/debian-packages.ts';
import { runGuestProcess } from '../../guests/guest-process.ts';
import { Kvm } from '../../src/kvm/kvm.ts';
import { owesNothing } from './bed/bed-disk.ts';
import { writeGuestFiles } from './bed/guest-files.ts';
import { quoted } from './bed/outer-script.ts';
import { runInBed, SilentBedError } from './bed/run-in-bed.ts';
import { InsideReport, type InsideResult, insideScript } from './inside-report.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
/** Test files that make no sense elsewhere, and are no stage's own. */
const MICROVM = 'test/microvm/inside/*.ts';
/** Those of other stages that a machine without KVM skips: a bed each, so that both end at about the same time. */
const SKIPPED_HERE = ['test/cli/run.test.ts', 'test/kvm/*.test.ts'] as const;
const FILE_TIMEOUT_SECONDS = 480;

export interface InsideOptions extends FetchOptions {
  readonly timeoutMs: number;
  /** Told as it goes, a few words or lines at a time. */
  readonly onProgress: (text: string) => void;
  /** Which of the files, by a part of their path; all when absent. */
  readonly only?: string;
}

/**
 * Runs test/microvm/inside on this machine's KVM if the processor virtualizes, else in a bed, and test/kvm in another beside it.
 * Throws `PeerMissingError` when something for a bed or a guest is missing.
 */
export async function runInside(options: InsideOptions): Promise<readonly InsideResult[]> {
  const isHere = isKvmReal();
  const [commands, rules] = SKIPPED_HERE;
  const groups = (isHere ? [[MICROVM]] : [[MICROVM, commands], [rules]]).map((globs) =>
    globSync(globs, { cwd: CHECKOUT })
      .filter((file) => file.includes(options.only ?? ''))
      .sort(),
  );
  options.onProgress(isHere ? 'on this machine' : 'in a Linux with kvm-amd, on a processor QEMU emulates');
  const run = isHere ? runHere : runThere;
  const results = await Promise.all(
    groups.filter(({ length }) => length > 0).map((files) => runFiles(run, files, options)),
  );
  return results.flat();
}

async function runFiles(run: Run, files: readonly string[], options: InsideOptions): Promise<readonly InsideResult[]> {
  const report = new InsideReport();
  const tell = (text: string | undefined): void => {
    if (text !== undefined) options.onProgress(text);
  };
  await run(files, report, (line) => tell(report.accept(line)), options);
  tell(report.close());
  return report.results;
}

/** A processor that virtualizes, and the right to use it: not a software that answers at /dev/kvm. */
export function isKvmReal(): boolean {
  const hasModule = (name: string): boolean => statSync(`/sys/module/${name}`, { throwIfNoEntry: false }) !== undefined;
  if (hasModule('kvm_pvm') || !(hasModule('kvm_intel') || hasModule('kvm_amd'))) return false;
  try {
    Kvm.open()[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

type Run = (
  files: readonly string[],
  report: InsideReport,
  onLine: (line: string) => void,
  options: InsideOptions,
) => Promise<void>;

const runHere: Run = async (files, _report, onLine, { timeoutMs, ...options }) => {
  const folder = await mkdtemp(join(tmpdir(), 'belfry-microvm-'));
  try {
    await writeGuestFiles(folder, options);
    const script = `cd ${quoted(CHECKOUT)}\n${insideScript(process.execPath, files, FILE_TIMEOUT_SECONDS)}`;
    const environment = { BELFRY_GUEST_FILES: folder };
    const command = { file: '/bin/sh', words: ['-c', script], environment };
    await runGuestProcess(command, { timeoutMs, onLine, ...(options.signal && { signal: options.signal }) });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** An emulated machine that stands still says nothing about us as long as its disk owes it nothing: once it gets another. */
const runThere: Run = async (files, report, onLine, options) => {
  try {
    await runInOneBed(files, onLine, options);
  } catch (error) {
    if (!(error instanceof SilentBedError)) throw error;
    options.onProgress(error.message);
    if (!owesNothing(error.disk)) return onLine(error.message);
    report.abandon();
    const done = new Set(report.results.map(({ file }) => file));
    options.onProgress('its disk owes it nothing; the rest goes on in another bed');
    const left = files.filter((file) => !done.has(file));
    await runInOneBed(left, onLine, options);
  }
};

async function runInOneBed(
  files: readonly string[],
  onLine: (line: string) => void,
  options: InsideOptions,
): Promise<void> {
  const environment = { BELFRY_GUEST_FILES: '/boot' };
  const script = insideScript('node', files, FILE_TIMEOUT_SECONDS);
  const { imageMs, bootMs, totalMs } = await runInBed(['sh', '-c', script], { ...options, environment, onLine });
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  options.onProgress(`disk made in ${seconds(imageMs)}, booted in ${seconds(bootMs)}, all in ${seconds(totalMs)}`);
}
