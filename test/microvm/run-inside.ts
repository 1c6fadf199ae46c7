// test/microvm: runs test files where KVM is real: here, if it is, else in a bed.
import { globSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FetchOptions } from '../../guests/fetch-options.ts';
import { runGuestProcess } from '../../guests/guest-process.ts';
import { Kvm } from '../../src/kvm/kvm.ts';
import { SLOWNESS_VARIABLE, slowness } from '../../src/testing/patience.ts';
import { owesNothing } from './bed/bed-disk.ts';
import { writeGuestFiles } from './bed/guest-files.ts';
import { runInBed, SilentBedError } from './bed/run-in-bed.ts';
import { InsideReport, type InsideResult, type Told } from './inside-report.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
/** Test files that make no sense elsewhere, and are no stage's own. */
const MICROVM = 'test/microvm/inside/*.ts';
/** Those of other stages that a machine without KVM skips. */
const SKIPPED_HERE = ['test/cli/run.test.ts', 'test/kvm/*.test.ts'] as const;
/** Those of `MICROVM` that run beside test/kvm, so that both beds end at about the same time. */
const IN_SECOND_BED = 'test/microvm/inside/block-devices.ts';
/** How much slower than this machine the emulated one is, for limits. */
const EMULATION = 10;
const RUN_FILES = 'test/microvm/run-files.ts';

export interface InsideOptions extends FetchOptions {
  /** Told as it goes: what is being done, or how a test came out; `isNews` even if only little is told. */
  readonly onProgress: (text: string, isNews: boolean) => void;
  /** Told every result once the file of the test is done. */
  readonly onResult?: (result: InsideResult) => void;
  /** Which of the files, by a part of their path; all when absent. */
  readonly only?: string;
}

/**
 * Runs test/microvm/inside on this machine's KVM if the processor virtualizes, else in two beds
 * at once, with what other stages skip.
 * Throws `PeerMissingError` when something for a bed or a guest is missing.
 */
export async function runInside(options: InsideOptions): Promise<readonly InsideResult[]> {
  const isHere = isKvmReal();
  const [commands, rules] = SKIPPED_HERE;
  const find = (globs: string[], exclude: string[] = []): string[] =>
    globSync(globs, { cwd: CHECKOUT, exclude })
      .filter((file) => file.includes(options.only ?? ''))
      .sort();
  const groups = isHere
    ? [find([MICROVM])]
    : [find([MICROVM, commands], [IN_SECOND_BED]), find([rules, IN_SECOND_BED])];
  options.onProgress(isHere ? 'on this machine' : 'in a Linux with kvm-amd, on a processor QEMU emulates', true);
  const run = isHere ? runHere : runThere;
  const results = await Promise.all(
    groups
      .filter(({ length }) => length > 0)
      .map((files, i) => runFiles(run, files, { ...options, onProgress: named(`bed ${i + 1}`, isHere, options) })),
  );
  return results.flat();
}

/** Its words begin with a name, where there are several. */
function named(name: string, isHere: boolean, { onProgress }: InsideOptions): InsideOptions['onProgress'] {
  return isHere ? onProgress : (text, isNews) => onProgress(`${name}: ${text}`, isNews);
}

async function runFiles(run: Run, files: readonly string[], options: InsideOptions): Promise<readonly InsideResult[]> {
  const report = new InsideReport(files.length);
  let toldCount = 0;
  const tell = (told: Told | undefined): void => {
    if (told !== undefined) options.onProgress(told.text, told.isNews);
    const { results } = report;
    for (const result of results.slice(toldCount)) options.onResult?.(result);
    toldCount = results.length;
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

const runHere: Run = async (files, _report, onLine, { signal, ...options }) => {
  const folder = await mkdtemp(join(tmpdir(), 'belfry-microvm-'));
  try {
    await writeGuestFiles(folder, options);
    const words = ['--disable-warning=ExperimentalWarning', join(CHECKOUT, RUN_FILES), ...files];
    const command = { file: process.execPath, words, environment: { BELFRY_GUEST_FILES: folder } };
    await runGuestProcess(command, { onLine, ...(signal && { signal }) });
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
    options.onProgress(error.message, true);
    if (!owesNothing(error.disk)) return onLine(error.message);
    report.abandon();
    const done = new Set(report.results.map(({ file }) => file));
    options.onProgress('its disk owes it nothing; the rest goes on in another bed', true);
    const left = files.filter((file) => !done.has(file));
    await runInOneBed(left, onLine, options);
  }
};

async function runInOneBed(
  files: readonly string[],
  onLine: (line: string) => void,
  { onProgress, ...options }: InsideOptions,
): Promise<void> {
  const environment = { BELFRY_GUEST_FILES: '/boot', [SLOWNESS_VARIABLE]: String(slowness() * EMULATION) };
  const words = ['node', '--disable-warning=ExperimentalWarning', RUN_FILES, ...files];
  const onStage = (doing: string): void => onProgress(doing, true);
  const { totalMs } = await runInBed(words, { ...options, environment, onLine, onStage });
  onProgress(`ended after ${(totalMs / 1000).toFixed(1)} s`, true);
}
