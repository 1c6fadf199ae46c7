// cli: the flags of `belfry run`, and the parsers of --disk and --vhost-user.
import { InvalidArgumentError } from 'commander';
import { type PortDescription, parsePort } from '../ports/open-port.ts';
import type { TransportName } from '../vmm/address-map.ts';

export type DiskWord =
  | { readonly kind: 'store'; readonly spec: string; readonly isReadOnly: boolean }
  | { readonly kind: 'vhost-user'; readonly socket: string }
  | { readonly kind: 'net'; readonly port: PortWord };

/** What a network card is connected to; `user` is a passt that `run` starts. */
export type PortWord = PortDescription | 'user';

const READ_ONLY = ':ro';
const BLOCK = ':blk';

/** Parses `STORE` or `STORE:ro`. */
export function storeWord(text: string): DiskWord {
  const isReadOnly = text.endsWith(READ_ONLY);
  const spec = isReadOnly ? text.slice(0, -READ_ONLY.length) : text;
  if (spec === '') throw new InvalidArgumentError('It takes an image file, a block device, mem:SIZE or a module.');
  return { kind: 'store', spec, isReadOnly };
}

/** Parses `SOCKET:blk`. */
export function vhostUserWord(text: string): DiskWord {
  if (!text.endsWith(BLOCK) || text === BLOCK) throw new InvalidArgumentError('It takes SOCKET:blk.');
  return { kind: 'vhost-user', socket: text.slice(0, -BLOCK.length) };
}

export const CONSOLES = ['serial', 'virtio'] as const;
export type ConsoleName = (typeof CONSOLES)[number];

/** The kernel command line of each, unless --append says another. */
export const COMMAND_LINES: Readonly<Record<ConsoleName, string>> = {
  serial: 'console=ttyS0 panic=-1',
  virtio: 'console=hvc0 panic=-1',
};
/** Parses `tap:vm0`, `user`, … */
export function netWord(text: string): DiskWord {
  if (text === 'user') return { kind: 'net', port: text };
  try {
    return { kind: 'net', port: parsePort(text) };
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
}

export interface DiskFlags {
  readonly transport: TransportName;
  /** The socket of the back end that the first --disk can be handed over to. */
  readonly handOver?: string;
  /** Whether requests wait or fail while a back end is gone. */
  readonly whenGone: 'wait' | 'fail';
}

export interface RunFlags extends DiskFlags {
  readonly kernel: string;
  readonly initrd?: string;
  /** Absent: that of the console. */
  readonly append?: string;
  /** What the terminal is connected to: the serial port, or a virtio console. */
  readonly console: ConsoleName;
  readonly cpus: number;
  readonly memory: number;
  readonly verbose?: boolean;
}
