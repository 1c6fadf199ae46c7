// guests: the programs the guest runs, with the shared libraries they need, taken from the host or from the cache.
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { CpioEntry } from './cpio.ts';
import { unpackedPackage } from './debian-packages.ts';
import type { FetchOptions } from './fetch-options.ts';
import { PeerMissingError } from './guest-peer.ts';

const run = promisify(execFile);
const PROGRAM_FOLDERS = ['bin', 'sbin', 'usr/bin', 'usr/sbin'];
const LIBRARY_FOLDERS = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'];

/** A program that goes into the initramfs. */
export interface GuestProgram {
  readonly name: string;
  readonly debianPackage: string;
  /** Its path in the guest. */
  readonly guestPath: string;
  /** Its path on this machine; searched for when absent. */
  readonly path?: string;
}

const BUSYBOX: GuestProgram = { name: 'busybox', debianPackage: 'busybox-static', guestPath: 'bin/busybox' };
const DYNAMIC_PROGRAMS: readonly GuestProgram[] = [
  { name: 'mke2fs', debianPackage: 'e2fsprogs', guestPath: 'sbin/mkfs.ext4' },
  { name: 'e2fsck', debianPackage: 'e2fsprogs', guestPath: 'sbin/e2fsck' },
  { name: 'sfdisk', debianPackage: 'fdisk', guestPath: 'sbin/sfdisk' },
  { name: 'blkdiscard', debianPackage: 'util-linux', guestPath: 'sbin/blkdiscard' },
];

/** fio, to make load inside a guest. */
export const FIO: GuestProgram = { name: 'fio', debianPackage: 'fio', guestPath: 'sbin/fio' };

/**
 * Files for the initramfs: a static busybox, mkfs.ext4, e2fsck, sfdisk, blkdiscard, and every library they load.
 * A program the host lacks is downloaded into the cache. Throws `PeerMissingError` when that fails too.
 */
export async function guestPrograms(options: FetchOptions): Promise<readonly CpioEntry[]> {
  return [await staticBusybox(options), ...(await programsWithLibraries(DYNAMIC_PROGRAMS, options))];
}

/** A busybox that needs no library, as bin/busybox. Throws `PeerMissingError`. */
export async function staticBusybox(options: FetchOptions): Promise<CpioEntry> {
  return await entry(BUSYBOX.guestPath, await findBusybox(options));
}

/** `programs` and every library they load, each once. Throws `PeerMissingError` when one cannot be had. */
export async function programsWithLibraries(
  programs: readonly GuestProgram[],
  options: FetchOptions,
): Promise<readonly CpioEntry[]> {
  const entries: CpioEntry[] = [];
  const libraries = new Map<string, string>();
  for (const program of programs) {
    const found = await findProgram(program, options);
    entries.push(await entry(program.guestPath, found.path));
    for (const library of await librariesOf(found)) libraries.set(guestLibraryPath(library), library);
  }
  for (const [guestPath, path] of libraries) entries.push(await entry(guestPath, path));
  return entries;
}

/** The executable `name` in the usual program folders under `root`, on $PATH as well when root is "/". */
export async function findExecutable(name: string, root = '/'): Promise<string | undefined> {
  const searchPath = root === '/' ? (process.env.PATH ?? '').split(':').filter((folder) => folder !== '') : [];
  for (const folder of [...searchPath, ...PROGRAM_FOLDERS.map((folder) => join(root, folder))]) {
    const path = join(folder, name);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

interface FoundProgram {
  readonly path: string;
  /** The unpacked package it came from, or "/". */
  readonly root: string;
}

// Debian's dynamic busybox lacks the shell that runs its applets without links, so only a static one will do.
async function findBusybox(options: FetchOptions): Promise<string> {
  const installed = await findExecutable(BUSYBOX.name);
  if (installed !== undefined && (await librariesOf({ path: installed, root: '/' })).length === 0) return installed;
  return (await fetchProgram(BUSYBOX, options)).path;
}

async function findProgram(program: GuestProgram, options: FetchOptions): Promise<FoundProgram> {
  if (program.path !== undefined) return { path: program.path, root: '/' };
  const installed = await findExecutable(program.name);
  return installed === undefined ? fetchProgram(program, options) : { path: installed, root: '/' };
}

async function fetchProgram(program: GuestProgram, options: FetchOptions): Promise<FoundProgram> {
  // The C library always comes from the host: it has to match the host's loader.
  const isLibrary = (name: string) => name.startsWith('lib') && !/^lib(c6|gcc|crypt|stdc)/.test(name);
  const root = await unpackedPackage(program.debianPackage, isLibrary, options);
  const path = await findExecutable(program.name, root);
  if (path === undefined) throw new PeerMissingError(`the package ${program.debianPackage} has no ${program.name}`);
  return { path, root };
}

async function librariesOf(program: FoundProgram): Promise<string[]> {
  const folders = program.root === '/' ? [] : LIBRARY_FOLDERS.map((folder) => join(program.root, folder));
  const environment = { ...process.env, LC_ALL: 'C', LD_LIBRARY_PATH: folders.join(':') };
  // ldd exits 1 on a static program.
  const listing = await run('ldd', [program.path], { env: environment }).then(
    ({ stdout }) => stdout,
    () => '',
  );
  const missing = /^\s*(\S+) => not found/m.exec(listing);
  if (missing) throw new PeerMissingError(`${program.path} needs ${missing[1]}, which is not installed`);
  return [...listing.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
}

// The loader is found by the absolute path each program names, libraries by the loader's default folders.
function guestLibraryPath(path: string): string {
  return path.startsWith('/lib64/') ? path.slice(1) : `lib/${basename(path)}`;
}

async function entry(guestPath: string, path: string): Promise<CpioEntry> {
  return { kind: 'file', path: guestPath, mode: 0o755, bytes: await readFile(path) };
}
