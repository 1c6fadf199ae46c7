// The stages of `npm test`, in the order they run: quick ones first.
import { availableParallelism } from 'node:os';

/** One stage: a command that checks the whole tree, or test files that each run in a process of their own. */
export interface Stage {
  readonly name: string;
  readonly what: string;
  /** A program under node_modules and its arguments; run by this Node. */
  readonly command?: readonly [program: string, ...args: string[]];
  /** Globs; a folder that does not exist is no error. */
  readonly files?: readonly string[];
  /** A file in which no test started or ended for this long, on a quiet machine, is killed and counts as failed. */
  readonly silenceMs: number;
  /** How many files run at once. */
  readonly parallel: number;
  /** Whether a run in a pipe prints a line for each file, not only for one that took a while. */
  readonly isHeavy: boolean;
  /** How long it takes on two quiet processors: used to estimate the time left until it has run here. */
  readonly seconds: number;
}

const MINUTE_MS = 60_000;
const byCommand = { silenceMs: 5 * MINUTE_MS, parallel: 1, isHeavy: false };
const CPUS = availableParallelism();
const quick = { silenceMs: 2 * MINUTE_MS, parallel: CPUS, isHeavy: false };
// Daemons, guests and builds: each keeps about one CPU busy, but for the time that it waits for a disk or a guest.
const heavy = { silenceMs: 5 * MINUTE_MS, parallel: CPUS + 1, isHeavy: true };
// One file that keeps every CPU busy by itself.
const alone = { silenceMs: 5 * MINUTE_MS, parallel: 1, isHeavy: true };

const biome = ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings'] as const;

export const stages: readonly Stage[] = [
  { name: 'setup', what: 'gets what the tests need of Debian', ...byCommand, seconds: 1 },
  { name: 'types', what: 'tsc', command: ['typescript/bin/tsc'], ...byCommand, seconds: 3 },
  { name: 'lint', what: 'biome', command: biome, ...byCommand, seconds: 2 },
  { name: 'tidy', what: 'the rules of the house', files: ['test/tidy.test.ts'], ...quick, seconds: 3 },
  {
    name: 'unit',
    what: 'beside the code',
    files: ['{src,bench,guests,demo,doctor}/**/*.test.ts', 'scripts/*.test.ts', 'test/ports/**/*.test.ts'],
    ...quick,
    seconds: 90,
  },
  { name: 'kvm', what: 'the kernel’s rules, on /dev/kvm', files: ['test/kvm/**/*.test.ts'], ...quick, seconds: 4 },
  { name: 'examples', what: 'every example, served', files: ['test/examples/**/*.test.ts'], ...quick, seconds: 10 },
  {
    name: 'package',
    what: 'npm pack, installed in an empty folder',
    files: ['test/package/**/*.test.ts'],
    ...heavy,
    seconds: 15,
  },
  { name: 'fuzz', what: 'hostile drivers, by seed', files: ['test/fuzz/**/*.test.ts'], ...heavy, seconds: 30 },
  {
    name: 'vhost-user',
    what: 'sessions, message by message',
    files: ['test/vhost-user/**/*.test.ts'],
    ...heavy,
    seconds: 80,
  },
  { name: 'spec', what: 'by clause of VIRTIO', files: ['test/spec/**/*.test.ts'], ...heavy, seconds: 22 },
  { name: 'stress', what: 'a ring between two threads', files: ['test/stress/**/*.test.ts'], ...alone, seconds: 15 },
  { name: 'cli', what: 'the commands', files: ['test/cli/**/*.test.ts'], ...heavy, seconds: 290 },
  { name: 'guest', what: 'real kernels on our disks', files: ['test/guest/**/*.test.ts'], ...heavy, seconds: 150 },
  {
    name: 'kill',
    what: 'a back end killed in mid-flight',
    files: ['test/kill/**/*.test.ts'],
    ...alone,
    seconds: 110,
  },
  {
    name: 'power-cut',
    what: 'a guest’s file system, cut at every flush and between',
    files: ['test/power-cut/**/*.test.ts'],
    ...alone,
    seconds: 75,
  },
  { name: 'models', what: 'notification, by spin', files: ['test/model/**/*.test.ts'], ...alone, seconds: 100 },
  {
    name: 'microvm',
    what: '`belfry run` and the kernel’s rules, on real KVM code',
    files: ['test/microvm/*.test.ts', 'test/microvm/bed/*.test.ts'],
    ...heavy,
    // Longer than the limit of run-files.ts for a test in an emulated machine.
    silenceMs: 10 * MINUTE_MS,
    seconds: 430,
  },
];
