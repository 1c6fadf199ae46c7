// Upper floor: the disks of `belfry run`, as they are typed: --disk and --vhost-user, in the order of the command line.
import { InvalidArgumentError } from 'commander';
import { readOnly } from '../stores/filters/read-only.ts';
import { openStore } from '../stores/open-store.ts';
import type { HandOver } from '../vmm/hand-over.ts';
import { LendableImage } from '../vmm/lendable-image.ts';
import { addLendableDisk, addStoreDisk, addVhostUserDisk, type DiskSurroundings } from '../vmm/machine-disks.ts';
import { isDiskModule, loadDiskModule } from './disk-module.ts';
import { UsageError } from './usage-error.ts';

export type DiskWord =
  | { readonly kind: 'store'; readonly spec: string; readonly isReadOnly: boolean }
  | { readonly kind: 'vhost-user'; readonly socket: string };

const READ_ONLY = ':ro';
const BLOCK = ':blk';

/** `STORE`, or `STORE:ro`. */
export function storeWord(text: string): DiskWord {
  const isReadOnly = text.endsWith(READ_ONLY);
  const spec = isReadOnly ? text.slice(0, -READ_ONLY.length) : text;
  if (spec === '') throw new InvalidArgumentError('It takes an image file, a block device, mem:SIZE or a module.');
  return { kind: 'store', spec, isReadOnly };
}

/** `SOCKET:blk`. */
export function vhostUserWord(text: string): DiskWord {
  if (!text.endsWith(BLOCK) || text === BLOCK) throw new InvalidArgumentError('It takes SOCKET:blk.');
  return { kind: 'vhost-user', socket: text.slice(0, -BLOCK.length) };
}

export interface DiskFlags {
  /** The socket that the first --disk can go to. */
  readonly handOver?: string;
  /** What becomes of requests while a back end is gone. */
  readonly whenGone: 'wait' | 'fail';
}

/** Gives the disk that can be handed over, if there is one. */
export async function addDisks(
  words: readonly DiskWord[],
  { handOver, whenGone }: DiskFlags,
  surroundings: DiskSurroundings,
): Promise<HandOver | undefined> {
  const lent = handOver === undefined ? undefined : lendable(words);
  let lending: HandOver | undefined;
  for (const word of words) {
    if (word.kind === 'vhost-user') await addVhostUserDisk({ socket: word.socket, whenGone }, surroundings);
    else if (word === lent) lending = addLendableDisk(openLendable(word.spec), handOver as string, surroundings);
    else addStoreDisk(await openDisk(word.spec, word.isReadOnly), surroundings);
  }
  return lending;
}

function lendable(words: readonly DiskWord[]): DiskWord {
  const first = words.find(({ kind }) => kind === 'store');
  if (first?.kind !== 'store') throw new UsageError('--hand-over is for a --disk, and there is none');
  const { spec, isReadOnly } = first;
  if (isReadOnly || isDiskModule(spec) || spec.startsWith('mem:'))
    throw new UsageError(
      `--hand-over: ${spec} cannot be handed over: it takes an image that a back end can open and write`,
    );
  return first;
}

function openLendable(spec: string): LendableImage {
  return new LendableImage(() => openStore(spec).store);
}

async function openDisk(spec: string, isReadOnly: boolean) {
  if (isDiskModule(spec)) {
    const loaded = await loadDiskModule(spec);
    return isReadOnly ? readOnly()(loaded) : loaded;
  }
  try {
    return openStore(spec, { readOnly: isReadOnly }).store;
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--disk ${spec}: ${error.message}`);
    throw error;
  }
}
