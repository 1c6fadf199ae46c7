// bench: the command lines of the back ends measured: belfry serve, and qemu-storage-daemon with each of its engines.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { moduleBeside } from '../src/sys/thread.ts';
import type { BackEndCommand } from './back-end-process.ts';
import type { Cache } from './page-cache.ts';

export const ENGINES = ['threads', 'io_uring', 'native'] as const;
/** How qemu-storage-daemon reads and writes files. */
export type Engine = (typeof ENGINES)[number];

export const STORAGE_DAEMON = 'qemu-storage-daemon';
/** Long enough that a back end that polls never sleeps under a load that keeps it busy. */
const POLL_US = 1000;

export interface ServedData {
  /** The folder of the sockets. */
  readonly folder: string;
  readonly disk: string;
  readonly queues: number;
  /** How the image is accessed. Absent: as the back end or engine does by default. */
  readonly cache?: Cache | undefined;
  /** Default: false. */
  readonly readOnly?: boolean;
}

/** The engines of qemu-storage-daemon that can access an image so: `native` takes O_DIRECT. */
export function enginesFor(engines: readonly Engine[], cache: Cache | undefined): Engine[] {
  return engines.filter((engine) => cache !== 'cached' || engine !== 'native');
}

/** `belfry serve blk` of this checkout or package. `name` is that of the table and the socket. */
export function ourCommand(
  data: ServedData,
  poll: boolean,
  serveArgs: readonly string[],
  name = 'belfry',
): BackEndCommand {
  const program = fileURLToPath(moduleBeside('../bin/belfry', import.meta.url));
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', program];
  const socket = join(data.folder, `${name.replaceAll(' ', '-')}.sock`);
  const serve = ['serve', 'blk', data.disk, '--socket', socket, '--queues', String(data.queues), '--quiet'];
  const polling = poll ? ['--poll', String(POLL_US)] : [];
  const access = [...(data.cache === 'direct' ? ['--direct'] : []), ...(data.readOnly ? ['--read-only'] : [])];
  return { name, socket, command: [...node, ...serve, ...polling, ...access, ...serveArgs] };
}

/** qemu-storage-daemon with one export in an iothread, as its manual page shows. Its vhost-user export cannot poll. */
export function storageDaemonCommand(data: ServedData, engine: Engine): BackEndCommand {
  const socket = join(data.folder, `${engine}.sock`);
  const { cache = engine === 'native' ? 'direct' : 'cached', readOnly = false } = data;
  const access = `cache.direct=${cache === 'direct' ? 'on' : 'off'},read-only=${readOnly ? 'on' : 'off'}`;
  // The other back ends have the file open too; only one of them is measured at a time.
  const driver = statSync(data.disk, { throwIfNoEntry: false })?.isBlockDevice() ? 'host_device' : 'file';
  const filename = data.disk.replaceAll(',', ',,');
  const file = `driver=${driver},node-name=disk,filename=${filename},aio=${engine},${access},locking=off`;
  const address = `addr.type=unix,addr.path=${socket}`;
  const traits = `writable=${readOnly ? 'off' : 'on'},num-queues=${data.queues},iothread=io`;
  return {
    name: `qsd ${engine}`,
    socket,
    command: [
      ...[STORAGE_DAEMON, '--object', 'iothread,id=io', '--blockdev', file],
      ...['--export', `type=vhost-user-blk,id=export,node-name=disk,${address},${traits}`],
    ],
  };
}
