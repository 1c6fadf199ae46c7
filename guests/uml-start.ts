// guests: whether User-Mode Linux runs here, and how long its kernel takes to start.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GuestPeer } from './guest-peer.ts';
import { runGuestProcess } from './guest-process.ts';

/** The message of a kernel that finds no root file system at the end of its start. */
const NO_ROOT = /VFS: Unable to mount root fs/;
const MEMORY_MIB = 64;

/** Returns how long the kernel takes until it looks for its root device, in ms. Throws Error with its last line. */
export async function measureUmlStart(peer: GuestPeer, silenceMs: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'belfry-guest-'));
  const started = new AbortController();
  const begin = performance.now();
  let lastWords = 'it printed nothing';
  let ms: number | undefined;
  const onLine = (line: string): void => {
    if (ms !== undefined) return;
    if (line.trim() !== '') lastWords = line.trim();
    if (!NO_ROOT.test(line)) return;
    ms = performance.now() - begin;
    started.abort();
  };
  try {
    const boot = { sockets: [], queues: 1, memoryMiB: MEMORY_MIB, initramfs: '/dev/null', folder };
    await runGuestProcess(peer.command(boot), { silenceMs, onLine, signal: started.signal });
  } catch (error) {
    if (ms === undefined) throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (ms === undefined) throw new Error(lastWords);
  return ms;
}
