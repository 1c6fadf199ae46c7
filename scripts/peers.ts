// The programs that the tests run Belfry with: how to install them, which are here, which were really used.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FetchOptions } from '../guests/fetch-options.ts';
import { PeerMissingError } from '../guests/guest-peer.ts';
import { guestPrograms } from '../guests/guest-programs.ts';
import { findQemu } from '../guests/qemu.ts';
import { findUserModeLinux } from '../guests/uml.ts';
import { patience } from '../src/testing/patience.ts';

const PACKAGES = [
  'user-mode-linux',
  'qemu-system-x86',
  'qemu-utils',
  'fio',
  'busybox-static',
  'e2fsprogs',
  'xfsprogs',
  'fdisk',
  'spin',
  'gcc',
  'passt',
  'iproute2',
  'dmsetup',
  'socat',
  'tcpdump',
] as const;

/** Peers that must be exercised where they are installed, and the program that shows that they are. */
const PROGRAMS = {
  'user-mode-linux': 'linux.uml',
  qemu: 'qemu-system-x86_64',
  'qemu-storage-daemon': 'qemu-storage-daemon',
  spin: 'spin',
} as const;

const INSTALL_TIMEOUT_MS = 600_000;

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function missingPackages(): string[] {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholders are dpkg-query's.
  const format = '-f=${Package} ${db:Status-Status}\\n';
  const { stdout } = spawnSync('dpkg-query', ['-W', format, ...PACKAGES], { encoding: 'utf8' });
  const installed = new Set(stdout.split('\n').filter((line) => line.endsWith(' installed')));
  return PACKAGES.filter((name) => !installed.has(`${name} installed`));
}

async function aptGet(...args: string[]): Promise<boolean> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = spawn('apt-get', ['-qy', '-oDPkg::Lock::Timeout=60', ...args], { env, stdio: 'ignore' });
  const timer = setTimeout(() => apt.kill(), patience(INSTALL_TIMEOUT_MS));
  const code = await new Promise((resolve) => apt.once('error', resolve).once('exit', resolve));
  clearTimeout(timer);
  return code === 0;
}

async function install(names: readonly string[]): Promise<void> {
  await aptGet('update');
  if (await aptGet('install', '--no-install-recommends', ...names)) return;
  // One of them may not exist here: install the others.
  for (const name of names) await aptGet('install', '--no-install-recommends', name);
}

const mayFetch = process.env.BELFRY_NO_APT !== '1';

/** Installs the Debian packages the tests use, where it may; returns a line with the result. Never fails. */
export async function installPackages(tell: Tell): Promise<string> {
  if (!isOnPath('apt-get') || !isOnPath('dpkg-query')) return 'no apt-get here: tests skip what is not installed';
  const missing = missingPackages();
  if (missing.length === 0) return 'nothing is missing';
  const refused = mayFetch ? (process.getuid?.() === 0 ? '' : 'not root') : 'BELFRY_NO_APT=1';
  if (refused !== '') return `not installed (${refused}): ${missing.join(' ')}`;
  tell(`apt-get installs ${missing.join(' ')}; BELFRY_NO_APT=1 leaves them out`);
  await install(missing);
  const stillMissing = missingPackages();
  const got = missing.filter((name) => !stillMissing.includes(name));
  return [
    ...(got.length > 0 ? [`installed ${got.join(' ')}`] : []),
    ...(stillMissing.length > 0 ? [`apt-get could not install ${stillMissing.join(' ')}`] : []),
  ].join('; ');
}

/** Downloads what guests boot into the cache, for tests, which download nothing. Returns what is missing. */
async function fetchGuests(tell: Tell): Promise<string[]> {
  const options: FetchOptions = { fetch: mayFetch, note: tell };
  const missing: string[] = [];
  for (const find of [findQemu, findUserModeLinux, guestPrograms]) {
    try {
      await find(options);
    } catch (error) {
      if (!(error instanceof PeerMissingError)) throw error;
      missing.push(error.message);
    }
  }
  return missing;
}

/** Prints a line about something that takes a while. */
type Tell = (line: string) => void;

/** Installs what the tests use, where it may; returns a line with the result. A missing peer is no failure here. */
export async function installPeers(tell: Tell): Promise<string> {
  return [await installPackages(tell), ...(await fetchGuests(tell))].join('; ');
}

/** The peers that tests wrote into the file of BELFRY_PEERS_FILE, each once. */
export function exercisedPeers(peersFile: string): string[] {
  const lines = existsSync(peersFile) ? readFileSync(peersFile, 'utf8').split('\n') : [];
  return [...new Set(lines)].filter((line) => line !== '').sort();
}

/** The peers that are installed but not among `exercised`. */
export function idlePeers(exercised: readonly string[]): string[] {
  return Object.entries(PROGRAMS)
    .filter(([peer, program]) => isOnPath(program) && !exercised.includes(peer))
    .map(([peer]) => peer);
}
