// guests: the interface of a program that boots a real Linux on vhost-user sockets.
import type { FetchOptions } from './fetch-options.ts';
import type { KernelModule } from './kernel-modules.ts';

/** One boot: the sockets become disks vda, vdb, ... in their order. */
export interface GuestBoot {
  readonly sockets: readonly string[];
  /** Request queues the driver should use on each disk; a peer with fewer CPUs uses fewer. */
  readonly queues: number;
  readonly memoryMiB: number;
  /** Path of the first root file system. */
  readonly initramfs: string;
  /** An empty folder for the peer's own files, removed by the caller. */
  readonly folder: string;
  /** Default `report`. */
  readonly wiring?: Wiring;
}

/**
 * The guest's consoles. `report`: its console, to standard output. `shell`: the console, to standard input and
 * output, and `GuestPeer.secondLine`, to the socket that is descriptor 3.
 */
export type Wiring = 'report' | 'shell';

export const SECOND_LINE_FD = 3;

export interface GuestCommand {
  readonly file: string;
  readonly words: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** Options of a search for a peer. */
export interface PeerOptions extends FetchOptions {
  /** With drivers for other devices: a console, and an entropy source where its kernel has a driver. Default false. */
  readonly withDevices?: boolean;
}

/** A program found on this machine (or unpacked in the cache) that boots Linux on vhost-user sockets. */
export interface GuestPeer {
  readonly name: 'user-mode-linux' | 'qemu';
  /** Program and kernel version, in one line. */
  readonly description: string;
  /** The file of the kernel: linux.uml itself, or a bzImage. */
  readonly kernel: string;
  /** The most request queues its kernel can use on one disk. */
  readonly maxQueues: number;
  /** The modules its kernel must load before it sees the disks, in load order. */
  readonly modules: readonly KernelModule[];
  /** The guest's device that is connected to `SECOND_LINE_FD`, with the wiring `shell`. */
  readonly secondLine: string;
  /** The command that boots; its standard output is the guest's console. */
  command(boot: GuestBoot): GuestCommand;
}

/** A peer, or something the guest needs, is not on this machine; the message says how to get it. */
export class PeerMissingError extends Error {
  readonly code = 'PEER_MISSING';

  constructor(message: string) {
    super(message);
    this.name = 'PeerMissingError';
  }
}
