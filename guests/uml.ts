// guests: User-Mode Linux, a real kernel as a process, with virtio_uml as its vhost-user front end.
import { readFileSync, statfsSync, symlinkSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { unpackedPackage } from './debian-packages.ts';
import type { GuestBoot, GuestCommand, GuestPeer, PeerOptions } from './guest-peer.ts';
import { PeerMissingError, SECOND_LINE_FD } from './guest-peer.ts';
import { findExecutable } from './guest-programs.ts';
import { kernelModules } from './kernel-modules.ts';
import { umlCanOpen, umlWords } from './uml-words.ts';

const PACKAGE = 'user-mode-linux';
const WANTED_MODULES = ['virtio_uml', 'virtio_blk', 'ext4'];
/** Debian's User-Mode Linux has no virtio_rng. */
const DEVICE_MODULES = ['virtio_console', 'virtio_net'];

/**
 * User-Mode Linux as installed, else from the cache, else downloaded with apt-get (no root, system unchanged).
 * Throws `PeerMissingError`, whose message says what to install.
 */
export async function findUserModeLinux(options: PeerOptions = {}): Promise<GuestPeer> {
  if (process.arch !== 'x64')
    throw new PeerMissingError(`User-Mode Linux runs on x86-64 only, this is ${process.arch}`);
  const installed = await kernelIn('/');
  if (installed !== undefined) return peerOf(installed, options);
  const unpacked = await kernelIn(await unpackedPackage(PACKAGE, () => false, options));
  if (unpacked === undefined) throw new PeerMissingError(`the package ${PACKAGE} holds no linux.uml with modules`);
  return peerOf(unpacked, options);
}

interface UmlKernel {
  readonly program: string;
  readonly modulesFolder: string;
}

async function kernelIn(root: string): Promise<UmlKernel | undefined> {
  const program = await findExecutable('linux.uml', root);
  const folder = join(root, 'usr/lib/uml/modules');
  const versions = await readdir(folder).catch(() => []);
  const version = versions.sort().at(-1);
  if (program === undefined || version === undefined) return undefined;
  return { program, modulesFolder: join(folder, version) };
}

function peerOf(kernel: UmlKernel, { withDevices = false }: PeerOptions): GuestPeer {
  const wanted = [...WANTED_MODULES, ...(withDevices ? DEVICE_MODULES : [])];
  return {
    name: 'user-mode-linux',
    description: `User-Mode Linux ${basename(kernel.modulesFolder)} (${kernel.program})`,
    kernel: kernel.program,
    // It has one CPU, and virtio_blk uses no more queues than CPUs.
    maxQueues: 1,
    modules: kernelModules(kernel.modulesFolder, wanted),
    secondLine: '/dev/tty1',
    command: (boot) => umlCommand(kernel.program, boot),
  };
}

function umlCommand(program: string, { sockets, memoryMiB, initramfs, wiring, folder }: GuestBoot): GuestCommand {
  const openable = sockets.map((socket, index) => (umlCanOpen(socket) ? socket : linkTo(socket, folder, index)));
  const consoles = wiring === 'shell' ? ['con0=fd:0,fd:1', `con1=null,fd:${SECOND_LINE_FD}`] : ['con0=null,fd:1'];
  return {
    file: program,
    words: [...umlWords({ memoryMiB, initramfs, sockets: openable, consoles }), `uml_dir=${folder}`],
    environment: { TMPDIR: memoryFolder(memoryMiB) },
  };
}

/** Makes a link to the socket in `folder`, and returns its path. */
function linkTo(socket: string, folder: string, index: number): string {
  const link = join(folder, `disk${index}`);
  if (!umlCanOpen(link))
    throw new Error(`User-Mode Linux cannot open ${socket}: point TMPDIR at a path without space, colon or quote`);
  symlinkSync(resolve(socket), link);
  return link;
}

// Guest memory is an unlinked file that User-Mode Linux maps executable. A container's /dev/shm is often 64 MiB, which
// kills a guest that outgrows it, and often noexec.
function memoryFolder(memoryMiB: number): string {
  const mount = readFileSync('/proc/self/mounts', 'utf8').match(/^\S+ \/dev\/shm \S+ (\S+)/m);
  if (!mount || mount[1]!.split(',').includes('noexec')) return tmpdir();
  const { bavail, bsize } = statfsSync('/dev/shm');
  return bavail * bsize >= (memoryMiB + 16) * 2 ** 20 ? '/dev/shm' : tmpdir();
}
