// cli: opens the disks of `belfry run` and attaches them to its machine, in the order of the command line.
import { isModule, loadStore } from '../daemon/load-module.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { readOnly } from '../stores/filters/read-only.ts';
import { openStore } from '../stores/open-store.ts';
import { SystemError } from '../sys/libc.ts';
import type { HandOver } from '../vmm/hand-over.ts';
import type { DeviceEnvironment } from '../vmm/plug-device.ts';
import { addStoreDisk } from '../vmm/store-disk.ts';
import type { VhostUserDiskOptions } from '../vmm/vhost-user-disk.ts';
import { checkSlots } from '../vmm/virtio-slots.ts';
import type { DiskFlags, DiskWord } from './run-flags.ts';
import { UsageError } from './usage-error.ts';

/** A disk that is open as far as that takes no machine. `plug` passes it to the machine, which closes it at its end. */
interface OpenDisk {
  plug(environment: DeviceEnvironment): Promise<HandOver | undefined>;
  close?(): unknown;
}

/** The disks of one `belfry run`. Disposing of it closes those that no machine has. */
export class RunDisks implements AsyncDisposable {
  readonly #disks: OpenDisk[] = [];

  private constructor() {}

  /**
   * Opens the disks of the command line, in its order. Throws UsageError, RangeError, SystemError.
   * @param others devices that take a slot besides.
   */
  static async open(words: readonly DiskWord[], flags: DiskFlags, others: number): Promise<RunDisks> {
    checkSlots(flags.transport, words.length + others);
    const movable = flags.handOver === undefined ? undefined : firstMovable(words);
    await using owned = new AsyncDisposableStack();
    const disks = owned.use(new RunDisks());
    for (const word of words) disks.#disks.push(await openDisk(word, word === movable, flags));
    owned.move();
    return disks;
  }

  /** Plugs them into a machine. Returns the disk that --hand-over can move. Throws SystemError. */
  async plug(environment: DeviceEnvironment): Promise<HandOver | undefined> {
    let movable: HandOver | undefined;
    for (let disk = this.#disks.shift(); disk !== undefined; disk = this.#disks.shift())
      movable = (await disk.plug(environment)) ?? movable;
    return movable;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const disk of this.#disks.splice(0)) await disk.close?.();
  }
}

async function openDisk(word: DiskWord, isMovable: boolean, { handOver, whenGone }: DiskFlags): Promise<OpenDisk> {
  if (word.kind === 'vhost-user')
    return { plug: (environment) => addBackEnd({ socket: word.socket, whenGone }, environment) };
  if (word.kind === 'net') {
    const { openRunNet } = await import('./run-net.ts');
    return await openRunNet(word.port);
  }
  if (isMovable) return openMovable(word.spec, handOver as string);
  const store = await openRunStore(word.spec, word.isReadOnly);
  return { plug: (environment) => addStore(store, environment), close: async () => await store.close?.() };
}

async function addStore(store: BlockStore, environment: DeviceEnvironment): Promise<undefined> {
  await addStoreDisk(store, environment);
}

async function addBackEnd(
  where: Pick<VhostUserDiskOptions, 'socket' | 'whenGone'>,
  environment: DeviceEnvironment,
): Promise<undefined> {
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

async function openMovable(spec: string, socket: string): Promise<OpenDisk> {
  const { ReopenableImage } = await import('../vmm/reopenable-image.ts');
  const { addHandOverDisk } = await import('../vmm/hand-over.ts');
  const image = ReopenableImage.ofFile(spec);
  return { plug: (environment) => addHandOverDisk(image, socket, environment), close: () => image.close() };
}

async function openRunStore(spec: string, isReadOnly: boolean): Promise<BlockStore> {
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
