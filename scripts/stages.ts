// The stages of `npm test`, in the order they run.

/** One stage: a command that judges the whole tree, or test files that each run in a process of their own. */
export interface Stage {
  readonly name: string;
  readonly what: string;
  /** A program under node_modules and its arguments; run by this Node. */
  readonly command?: readonly [program: string, ...args: string[]];
  /** Globs; a folder that does not exist yet is no mistake. */
  readonly files?: readonly string[];
  /** How long one test file may take before it is killed and counts as failed. */
  readonly fileTimeoutMs: number;
  /** How many files run at once; 0 = one for each CPU. */
  readonly parallel: number;
}

const MINUTE_MS = 60_000;
const byCommand = { fileTimeoutMs: 5 * MINUTE_MS, parallel: 1 };
const quick = { fileTimeoutMs: 2 * MINUTE_MS, parallel: 0 };
// Daemons, guests and builds: alone on the machine, or their own time limits are what fails.
const heavy = { fileTimeoutMs: 10 * MINUTE_MS, parallel: 1 };

export const stages: readonly Stage[] = [
  { name: 'setup', what: 'installs the Debian packages the tests use', ...byCommand },
  { name: 'types', what: 'tsc', command: ['typescript/bin/tsc'], ...byCommand },
  { name: 'lint', what: 'biome', command: ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings'], ...byCommand },
  { name: 'tidy', what: 'the rules of the house', files: ['test/tidy.test.ts'], ...quick },
  {
    name: 'unit',
    what: 'beside the code',
    files: ['{src,bench,guests,demo,doctor}/**/*.test.ts', 'scripts/*.test.ts'],
    ...quick,
  },
  {
    name: 'spec',
    what: 'by clause of VIRTIO',
    files: ['test/spec/**/*.test.ts'],
    ...quick,
    fileTimeoutMs: 5 * MINUTE_MS,
  },
  { name: 'vhost-user', what: 'sessions, message by message', files: ['test/vhost-user/**/*.test.ts'], ...quick },
  {
    name: 'kvm',
    what: 'the kernel’s rules, on /dev/kvm',
    files: ['test/kvm/**/*.test.ts'],
    ...heavy,
    fileTimeoutMs: MINUTE_MS,
  },
  { name: 'models', what: 'notification, by spin', files: ['test/model/**/*.test.ts'], ...heavy },
  { name: 'fuzz', what: 'hostile drivers, by seed', files: ['test/fuzz/**/*.test.ts'], ...heavy },
  { name: 'stress', what: 'a ring between two threads', files: ['test/stress/**/*.test.ts'], ...heavy },
  { name: 'cli', what: 'the commands', files: ['test/cli/**/*.test.ts'], ...heavy },
  { name: 'examples', what: 'every example, served', files: ['test/examples/**/*.test.ts'], ...heavy },
  { name: 'package', what: 'npm pack, installed in an empty folder', files: ['test/package/**/*.test.ts'], ...heavy },
  {
    name: 'microvm',
    what: '`belfry run` and the kernel’s rules, on real KVM code',
    files: ['test/microvm/*.test.ts', 'test/microvm/bed/*.test.ts'],
    ...heavy,
    fileTimeoutMs: 15 * MINUTE_MS,
  },
  { name: 'guest', what: 'real kernels on our disks', files: ['test/guest/**/*.test.ts'], ...heavy },
];
