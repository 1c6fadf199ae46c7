// cli: opens the disks of `belfry run` and attaches them to its machine, in the order of the command line.
import { isModule, loadStore } from '../daemon/load-module.ts';
import { readOnly } from '../stores/filters/read-only.ts';
import { openStore } from '../stores/open-store.ts';
import { SystemError } from '../sys/libc.ts';
import type { HandOver } from '../vmm/hand-over.ts';
import type { Machine } from '../vmm/machine.ts';
import { addStoreDisk, type DiskEnvironment } from '../vmm/store-disk.ts';
import type { VhostUserDiskOptions } from '../vmm/vhost-user-disk.ts';
import { virtioSlots } from '../vmm/virtio-slots.ts';
import type { DiskFlags, DiskWord } from './run-flags.ts';
import { UsageError } from './usage-error.ts';

/** Attaches `words` to `machine`. Returns the disk that --hand-over can move. Throws UsageError, SystemError. */
export async function addDisks(
  words: readonly DiskWord[],
  { handOver, whenGone, transport }: DiskFlags,
  machine: Machine,
  log: (line: string) => void,
): Promise<HandOver | undefined> {
  const movable = handOver === undefined ? undefined : firstMovable(words);
  let moving: HandOver | undefined;
  const environment = { machine, slots: virtioSlots(machine, transport), log };
  for (const word of words) {
    if (word.kind === 'vhost-user') await addBackEnd({ socket: word.socket, whenGone }, environment);
    else if (word === movable) moving = await addMovable(word.spec, handOver as string, environment);
    else await addStoreDisk(await openDisk(word.spec, word.isReadOnly), environment);
  }
  return moving;
}

async function addBackEnd(
  where: Pick<VhostUserDiskOptions, 'socket' | 'whenGone'>,
  environment: DiskEnvironment,
): Promise<void> {
  const { addVhostUserDisk } = await import('../vmm/vhost-user-disk.ts');
  try {
    await addVhostUserDisk(where, environment);
  } catch (error) {
    const { syscall, code } = error as SystemError;
    if (syscall !== 'connect') throw error;
    throw new SystemError('connect', code, `${where.socket}: no back end listens there: start it first`);
  }
}

function firstMovable(words: readonly DiskWord[]): DiskWord {
  const first = words.find(({ kind }) => kind === 'store');
  if (first?.kind !== 'store') throw new UsageError('--hand-over is for a --disk, and there is none');
  const { spec, isReadOnly } = first;
  if (isReadOnly || isModule(spec) || spec.startsWith('mem:'))
    throw new UsageError(
      `--hand-over: ${spec} cannot be handed over: it takes an image that a back end can open and write`,
    );
  return first;
}

async function addMovable(spec: string, socket: string, environment: DiskEnvironment): Promise<HandOver> {
  const { ReopenableImage } = await import('../vmm/reopenable-image.ts');
  const { addHandOverDisk } = await import('../vmm/hand-over.ts');
  return await addHandOverDisk(ReopenableImage.ofFile(spec), socket, environment);
}

async function openDisk(spec: string, isReadOnly: boolean) {
  if (isModule(spec)) {
    const loaded = await loadStore(spec, (line) => console.error(`belfry: ${line}`));
    return isReadOnly ? readOnly()(loaded) : loaded;
  }
  try {
    return openStore(spec, { readOnly: isReadOnly }).store;
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--disk ${spec}: ${error.message}`);
    throw error;
  }
}
