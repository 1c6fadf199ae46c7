// bench: the command lines of the back ends measured: belfry serve, and qemu-storage-daemon with each of its engines.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { moduleBeside } from '../src/sys/thread.ts';
import type { BackEndCommand } from './back-end-process.ts';

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
}

/** `belfry serve blk` of this checkout or package. */
export function ourCommand(data: ServedData, poll: boolean, serveArgs: readonly string[]): BackEndCommand {
  const socket = join(data.folder, 'belfry.sock');
  const program = fileURLToPath(moduleBeside('../bin/belfry', import.meta.url));
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', program];
  const serve = ['serve', 'blk', data.disk, '--socket', socket, '--queues', String(data.queues), '--quiet'];
  const polling = poll ? ['--poll', String(POLL_US)] : [];
  return { name: 'belfry', socket, command: [...node, ...serve, ...polling, ...serveArgs] };
}

/** qemu-storage-daemon with one export in an iothread, as its manual page shows. Its vhost-user export cannot poll. */
export function storageDaemonCommand(data: ServedData, engine: Engine): BackEndCommand {
  const socket = join(data.folder, `${engine}.sock`);
  const direct = engine === 'native' ? 'on' : 'off';
  // The other back ends have the file open too; only one of them is measured at a time.
  const file = `driver=file,node-name=disk,filename=${data.disk},aio=${engine},cache.direct=${direct},locking=off`;
  const address = `addr.type=unix,addr.path=${socket}`;
  const traits = `writable=on,num-queues=${data.queues},iothread=io`;
  return {
    name: `qsd ${engine}`,
    socket,
    command: [
      ...[STORAGE_DAEMON, '--object', 'iothread,id=io', '--blockdev', file],
      ...['--export', `type=vhost-user-blk,id=export,node-name=disk,${address},${traits}`],
    ],
  };
}
