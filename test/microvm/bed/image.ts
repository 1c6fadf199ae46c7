// test/microvm/bed: the disk of the outer guest: Node, this checkout, and everything the tests start there.
import { execFile } from 'node:child_process';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { compileYardstick } from '../../../bench/doorbell/yardstick.ts';
import type { CpioEntry } from '../../../guests/cpio.ts';
import type { FetchOptions } from '../../../guests/fetch-options.ts';
import { PeerMissingError } from '../../../guests/guest-peer.ts';
import type { GuestProgram } from '../../../guests/guest-programs.ts';
import { findExecutable, programsWithLibraries, staticBusybox } from '../../../guests/guest-programs.ts';
import { patience } from '../../../src/testing/patience.ts';
import { writeGuestFiles } from './guest-files.ts';

const run = promisify(execFile);
const CHECKOUT = join(import.meta.dirname, '../../..');
const SOURCES = [
  'bin',
  'src',
  'bench',
  'guests',
  'demo',
  'doctor',
  'test',
  'scripts',
  'examples',
  'package.json',
  'package-lock.json',
  'belfry',
];
// What package.json depends on, with what that depends on; and fast-check, which tests use.
const PACKAGES = [
  ...['commander', 'picocolors', 'cli-table3', '@colors', 'string-width', 'strip-ansi', 'ansi-regex'],
  ...['emoji-regex', 'is-fullwidth-code-point', 'fast-check', 'pure-rand'],
];
const FOLDERS = ['bin', 'boot', 'dev', 'etc', 'lib', 'proc', 'run', 'sbin', 'sys', 'tmp', 'var/tmp', 'belfry'];
const FREE_MIB = 32;
const WARM_TIMEOUT_MS = 60_000;

const PROGRAMS: readonly GuestProgram[] = [
  { name: 'node', debianPackage: 'nodejs', guestPath: 'bin/node', path: process.execPath },
  { name: 'mke2fs', debianPackage: 'e2fsprogs', guestPath: 'sbin/mke2fs' },
  { name: 'e2fsck', debianPackage: 'e2fsprogs', guestPath: 'sbin/e2fsck' },
  { name: 'dmsetup', debianPackage: 'dmsetup', guestPath: 'sbin/dmsetup' },
  { name: 'script', debianPackage: 'bsdutils', guestPath: 'bin/script' },
  { name: 'qemu-storage-daemon', debianPackage: 'qemu-system-common', guestPath: 'bin/qemu-storage-daemon' },
];

const START_BELFRY = `#!/bin/sh
exec node --disable-warning=ExperimentalWarning /belfry/bin/belfry.ts "$@"
`;

/**
 * Makes the image `path` from a folder `scratch` that it fills: an ext4 without a journal, the checkout in /belfry, the
 * kernel and the initramfs of `writeGuestFiles` in /boot. Throws `PeerMissingError`.
 */
export async function makeBedImage(path: string, scratch: string, options: FetchOptions): Promise<void> {
  const mke2fs = await findExecutable('mke2fs');
  if (mke2fs === undefined) throw new PeerMissingError('mke2fs is not installed: apt-get install e2fsprogs');
  for (const folder of FOLDERS) await mkdir(join(scratch, folder), { recursive: true });
  const busybox = await staticBusybox(options);
  await writeEntries(scratch, [busybox, ...(await programsWithLibraries(PROGRAMS, options))]);
  await linkApplets(scratch);
  await writeFile(join(scratch, 'bin/belfry'), START_BELFRY, { mode: 0o755 });
  // For `belfry doorbell`, which does without where there is no compiler.
  await compileYardstick(join(scratch, 'bin/yardstick'), ['-static']).catch(() => {});
  await writeFile(join(scratch, 'etc/passwd'), 'root:x:0:0:root:/tmp:/bin/sh\n');
  await copyCheckout(join(scratch, 'belfry'));
  await warmCompileCache(scratch);
  await writeGuestFiles(join(scratch, 'boot'), options);
  const { stdout } = await run('du', ['-sm', scratch]);
  const size = `${Number.parseInt(stdout, 10) + FREE_MIB}M`;
  await run(mke2fs, ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-m', '0', '-d', scratch, path, size]);
}

async function writeEntries(folder: string, entries: readonly CpioEntry[]): Promise<void> {
  for (const entry of entries) {
    if (entry.kind !== 'file') throw new Error(`${entry.path} is a ${entry.kind}: only files are written`);
    const path = join(folder, entry.path);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, entry.bytes, { mode: entry.mode });
  }
}

// The same names as in the static busybox; what is there already is the real program.
async function linkApplets(scratch: string): Promise<void> {
  const { stdout } = await run(join(scratch, 'bin/busybox'), ['--list']);
  for (const applet of stdout.split('\n').filter((name) => name !== '' && name !== 'busybox'))
    await symlink('/bin/busybox', join(scratch, 'bin', applet)).catch(() => {});
}

async function copyCheckout(folder: string): Promise<void> {
  const options = { recursive: true, preserveTimestamps: true } as const;
  for (const name of SOURCES) await cp(join(CHECKOUT, name), join(folder, name), options);
  // ./belfry sets a checkout up whose lock is newer than this, and looks for its Node there.
  for (const name of ['.package-lock.json', ...PACKAGES])
    await cp(join(CHECKOUT, 'node_modules', name), join(folder, 'node_modules', name), options);
  await mkdir(join(folder, 'node_modules/.bin'));
  await symlink('/bin/node', join(folder, 'node_modules/.bin/node'));
}

// Every file somebody may start there. Tests are defined, but none runs: no name fits the pattern.
const MODULES = '{src/{cli,kvm,vmm,sys,transports,daemon},bench,guests,test/{kvm,microvm,guest}}/**/!(*.test).ts';
const TESTS = 'test/{cli/run,kvm/*}.test.ts';
const REPORTER = 'scripts/test-reporter.ts';
const NO_TEST = '--test-name-pattern=^no test$';
const LOAD_ALL = `
  import { globSync } from 'node:fs';
  import { resolve } from 'node:path';
  for (const file of globSync(['${MODULES}', '${TESTS}', '${REPORTER}'])) await import(resolve(file)).catch(() => {});
  process.exit();
`;

/**
 * Without it Node strips and compiles every file on the emulated processor, five seconds a start. A file's place in the
 * cache is relative to the cache, so it is found again on the disk.
 */
async function warmCompileCache(scratch: string): Promise<void> {
  const cache = { NODE_COMPILE_CACHE: join(scratch, 'compiled'), NODE_COMPILE_CACHE_PORTABLE: '1' };
  const options = {
    cwd: join(scratch, 'belfry'),
    env: { ...process.env, ...cache },
    timeout: patience(WARM_TIMEOUT_MS),
  };
  await run(process.execPath, ['bin/belfry.ts', '--version'], options);
  const words = ['--disable-warning=ExperimentalWarning', NO_TEST, '--input-type=module', '--eval', LOAD_ALL];
  // A worker's module has no work here and throws; it was compiled all the same.
  await run(process.execPath, words, options).catch(() => {});
}
