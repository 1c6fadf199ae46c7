// test/vhost-user: a disk of memory served by threads of their own, in the test's process.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeviceDaemon, type DeviceDaemonOptions } from '../../src/daemon/device-daemon.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { type Listening, problemsTo } from './back-end.ts';

export interface ThreadedBackEnd extends Listening, AsyncDisposable {
  readonly daemon: DeviceDaemon;
  readonly listenFd: number;
}

/** Serves `mem:1M`, or the store that `spec` names, and waits until every thread is there. */
export async function serveByThreads(
  threads: number,
  options: Partial<DeviceDaemonOptions> & { readonly spec?: string } = {},
): Promise<ThreadedBackEnd> {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-threads-'));
  const path = join(folder, 'disk.sock');
  const lines: string[] = [];
  const { store, description } = openStore(options.spec ?? 'mem:1M');
  const listener = UnixListener.listen(path);
  const daemon = new DeviceDaemon({
    device: { kind: 'blk', store: description, options: { queues: 4 } },
    listener,
    threads,
    poll: 'off',
    once: false,
    log: problemsTo(lines),
    ...options,
  });
  await daemon.ready();
  return {
    path,
    daemon,
    lines,
    listenFd: listener.fd,
    connect: () => RawFrontEnd.connect(path),
    async [Symbol.asyncDispose]() {
      // A daemon that has ended by itself cannot be told to.
      await daemon.close();
      listener[Symbol.dispose]();
      await store.close?.();
      rmSync(folder, { recursive: true });
    },
  };
}
