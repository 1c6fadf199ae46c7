// doctor: other programs: front ends, peers of the benchmarks, tools.
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { type GuestPeer, PeerMissingError } from '../guests/guest-peer.ts';
import { findExecutable } from '../guests/guest-programs.ts';
import { findUserModeLinux } from '../guests/uml.ts';
import { measureUmlStart } from '../guests/uml-start.ts';
import type { Finding } from './finding.ts';

const run = promisify(execFile);
const VERSION_TIMEOUT_MS = 3000;
const KERNEL_TIMEOUT_MS = 60_000;

interface Program {
  readonly name: string;
  /** Names of the program; the first that is found is run for its version. */
  readonly files: readonly string[];
  readonly versionWords: readonly string[];
  readonly goodFor: string;
  readonly advice: string;
}

const github = (repository: string): string => `a binary is at https://github.com/${repository}/releases`;

const frontEnds: readonly Program[] = [
  {
    name: 'cloud-hypervisor',
    files: ['cloud-hypervisor'],
    versionWords: ['--version'],
    goodFor: 'a VMM that takes disks over vhost-user; needs kvm',
    advice: github('cloud-hypervisor/cloud-hypervisor'),
  },
  {
    name: 'crosvm',
    files: ['crosvm'],
    versionWords: ['version'],
    goodFor: 'a VMM that takes disks over vhost-user; needs kvm',
    advice: 'build it: https://crosvm.dev/book',
  },
  {
    name: 'firecracker',
    files: ['firecracker'],
    versionWords: ['--version'],
    goodFor: 'a microVM that takes disks over vhost-user; needs kvm',
    advice: github('firecracker-microvm/firecracker'),
  },
];

const others: readonly Program[] = [
  {
    name: 'qemu-storage-daemon',
    files: ['qemu-storage-daemon'],
    versionWords: ['--version'],
    goodFor: 'the peer of belfry bench blk --against qemu-storage-daemon',
    advice: 'apt-get install qemu-system-common qemu-utils (which of them has it depends on the release)',
  },
  {
    name: 'spdk',
    files: ['spdk_tgt'],
    versionWords: ['--version'],
    goodFor: 'another back end to compare with, on hugepages and a processor of its own',
    advice: 'build it: https://spdk.io/doc/getting_started.html',
  },
  {
    name: 'fio',
    files: ['fio'],
    versionWords: ['--version'],
    goodFor: 'load from inside a guest',
    advice: 'apt-get install fio',
  },
  {
    name: 'spin',
    files: ['spin'],
    versionWords: ['-V'],
    goodFor: 'checking models of the notification handshakes',
    advice: 'apt-get install spin',
  },
];

/** Programs that the demo's guests run. */
const GUEST_PROGRAMS = ['busybox', 'mke2fs', 'e2fsck', 'sfdisk', 'blkdiscard'];

export async function examineFrontEnds(): Promise<Finding[]> {
  return await Promise.all([userModeLinux(), qemu(), ...frontEnds.map(examine), guestPrograms()]);
}

export async function examineTools(): Promise<Finding[]> {
  return await Promise.all(others.map(examine));
}

async function examine({ name, files, versionWords, goodFor, advice }: Program): Promise<Finding> {
  for (const file of files) {
    const path = await findExecutable(file);
    if (path === undefined) continue;
    return { name, state: 'ok', found: await versioned(path, versionWords), goodFor, advice: '' };
  }
  return { name, state: 'absent', found: 'not on PATH', goodFor, advice };
}

/** Returns `path (version)`. */
async function versioned(path: string, words: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(path, words, { timeout: VERSION_TIMEOUT_MS }).catch(() => ({
    stdout: '',
    stderr: '',
  }));
  const version = /\d+(\.\d+)+/.exec(stdout || stderr)?.[0];
  return version === undefined ? path : `${version} (${path})`;
}

async function userModeLinux(): Promise<Finding> {
  const finding = {
    name: 'user-mode-linux',
    goodFor: 'a real Linux as a process, for belfry demo and belfry shell; no kvm',
  };
  let peer: GuestPeer;
  try {
    peer = await findUserModeLinux({ fetch: false });
  } catch (error) {
    if (!(error instanceof PeerMissingError)) throw error;
    const advice = 'apt-get install user-mode-linux; belfry demo downloads it by itself where apt-get works';
    return { ...finding, state: 'absent', found: error.message.split(':')[0] as string, advice };
  }
  try {
    const ms = await measureUmlStart(peer, KERNEL_TIMEOUT_MS);
    const found = `${peer.description}; its kernel started in ${(ms / 1000).toFixed(1)} s`;
    return { ...finding, state: 'ok', found, advice: '' };
  } catch (error) {
    const found = `${peer.description} does not run: ${(error as Error).message}`;
    const advice = 'a sandbox may forbid ptrace (docker run --cap-add SYS_PTRACE); belfry demo --guest qemu needs none';
    return { ...finding, state: 'broken', found, advice };
  }
}

async function qemu(): Promise<Finding> {
  const names = await programsLike(/^qemu-system-/);
  const native = process.arch === 'x64' ? 'qemu-system-x86_64' : 'qemu-system-aarch64';
  const finding = {
    name: 'qemu',
    goodFor: 'the VMM most people have; takes disks over vhost-user, with or without kvm',
  };
  const path = await findExecutable(native);
  if (path !== undefined) return { ...finding, state: 'ok', found: await versioned(path, ['--version']), advice: '' };
  const advice = `apt-get install qemu-system-${process.arch === 'x64' ? 'x86' : 'arm'}`;
  const found = names.length === 0 ? 'not on PATH' : `only ${names.join(', ')}`;
  return { ...finding, state: 'absent', found, advice };
}

async function guestPrograms(): Promise<Finding> {
  const paths = await Promise.all(GUEST_PROGRAMS.map((name) => findExecutable(name)));
  const missing = GUEST_PROGRAMS.filter((_, i) => paths[i] === undefined);
  return {
    name: 'guest programs',
    state: missing.length === 0 ? 'ok' : 'absent',
    found: missing.length === 0 ? GUEST_PROGRAMS.join(', ') : `missing: ${missing.join(', ')}`,
    goodFor: 'what the guest of belfry demo runs',
    advice:
      missing.length === 0
        ? ''
        : 'apt-get install busybox-static e2fsprogs fdisk; belfry demo downloads what is missing',
  };
}

async function programsLike(pattern: RegExp): Promise<string[]> {
  const folders = [...new Set((process.env.PATH ?? '').split(':'))].filter((folder) => folder !== '');
  const names = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])));
  return [...new Set(names.flat().filter((name) => pattern.test(name)))].sort();
}
