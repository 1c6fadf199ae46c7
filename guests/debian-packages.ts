// guests: Debian packages unpacked into a cache folder, without root and without touching the system.
import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { FetchOptions } from './fetch-options.ts';
import { PeerMissingError } from './guest-peer.ts';
import { guestCacheFolder } from './shell-files.ts';

const run = promisify(execFile);
const APT_TIMEOUT_MS = 180_000;
const LISTS_KEPT_MS = 24 * 60 * 60 * 1000;

/**
 * The folder that holds `name` and those of its dependencies `wanted` accepts, unpacked side by side.
 * Downloads them on first use; later calls return the cached folder and never check for a newer version.
 * Throws `PeerMissingError` when the packages are not cached and cannot be downloaded.
 */
export async function unpackedPackage(
  name: string,
  wanted: (dependency: string) => boolean,
  options: FetchOptions,
): Promise<string> {
  const cacheFolder = options.cacheFolder ?? guestCacheFolder();
  const unpacked = join(cacheFolder, name);
  if (await exists(unpacked)) return unpacked;
  if (options.fetch === false) throw new PeerMissingError(`${name} is not installed: apt-get install ${name}`);
  await mkdir(cacheFolder, { recursive: true });
  const scratch = await mkdtemp(join(cacheFolder, 'unpacking-'));
  try {
    await download(name, wanted, scratch, options);
    await publish(join(scratch, 'root'), unpacked);
    return unpacked;
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new PeerMissingError(
      `${name} is not installed (apt-get install ${name}) and could not be downloaded: ${firstLine(error)}`,
    );
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function download(
  name: string,
  wanted: (dependency: string) => boolean,
  scratch: string,
  options: FetchOptions,
): Promise<void> {
  const apt = await workingApt(name, scratch, options);
  const listing = await apt('apt-cache', ['depends', '--recurse', '--important', name]);
  const dependencies = listing.split('\n').filter((line) => /^[a-z0-9]/.test(line) && line !== name && wanted(line));
  const names = [name, ...dependencies];
  options.note?.(
    `downloading ${names.join(' ')} into ${options.cacheFolder ?? guestCacheFolder()} (nothing is installed)`,
  );
  await apt('apt-get', ['download', ...names]);
  for (const file of await readdir(scratch)) {
    if (file.endsWith('.deb')) await apt('dpkg-deb', ['-x', file, join(scratch, 'root')]);
  }
}

type Apt = (command: string, words: readonly string[]) => Promise<string>;

// A container image often ships without package lists; a private copy of them needs no root.
async function workingApt(name: string, scratch: string, options: FetchOptions): Promise<Apt> {
  const usual = aptIn(scratch, [], options);
  if ((await usual('apt-get', ['download', '--print-uris', name]).catch(() => '')) !== '') return usual;
  const lists = join(options.cacheFolder ?? guestCacheFolder(), 'package-lists');
  const own = aptIn(scratch, ['-o', `Dir::State::Lists=${lists}`, '-o', `Dir::Cache=${scratch}`], options);
  if (Date.now() - (await modifiedMs(lists)) > LISTS_KEPT_MS) {
    options.note?.(`fetching package lists into ${lists} (nothing is installed)`);
    await mkdir(join(lists, 'partial'), { recursive: true });
    await own('apt-get', ['update']);
  }
  return own;
}

function aptIn(cwd: string, settings: readonly string[], options: FetchOptions): Apt {
  // As root, apt would run its downloads as a user that may not write here.
  const sandbox = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
  const patience = ['-o', 'Acquire::http::Timeout=15', '-o', 'Acquire::Retries=1'];
  return async (command, words) => {
    const all = command.startsWith('apt-') ? [...sandbox, ...patience, ...settings, '-q', ...words] : [...words];
    const environment = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
    const signal = options.signal ? { signal: options.signal } : {};
    const { stdout } = await run(command, all, {
      cwd,
      env: environment,
      timeout: APT_TIMEOUT_MS,
      maxBuffer: 1 << 26,
      ...signal,
    });
    return stdout;
  };
}

// Two runs may fetch the same package at once: the first rename wins, both have the same files.
async function publish(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!(await exists(to))) throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

// 0 for a folder that is not there; apt dates the folder when an update ends.
async function modifiedMs(path: string): Promise<number> {
  return stat(path).then(
    (status) => status.mtimeMs,
    () => 0,
  );
}

function firstLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const stderr = 'stderr' in error && typeof error.stderr === 'string' ? error.stderr : '';
  const said = stderr.split('\n').find((line) => line.startsWith('E: ')) ?? stderr.split('\n')[0];
  return said || error.message.split('\n')[0] || error.name;
}
