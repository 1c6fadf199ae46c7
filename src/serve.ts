// belfry: `serve` serves one device over vhost-user, in this thread's Node loop or on threads of its own.
import { fileURLToPath } from 'node:url';
import { checkServeOptions } from './daemon/check-serve-options.ts';
import { DeviceDaemon } from './daemon/device-daemon.ts';
import type { DeviceSource } from './daemon/device-source.ts';
import { isModule } from './daemon/load-module.ts';
import { LoopServer } from './daemon/loop-server.ts';
import type { PollMode } from './daemon/poll-mode.ts';
import type { ServedDevice } from './daemon/served-device.ts';
import type { Limits } from './stores/filters/limits.ts';
import { type EngineName, type OpenedStore, openStore } from './stores/open-store.ts';
import { LimitedLog } from './sys/limited-log.ts';
import { UnixListener } from './sys/unix-socket.ts';
import { checkDevice } from './virtio/check-device.ts';
import type { VirtioDevice } from './virtio/device.ts';
import type { About, Log } from './virtio/log.ts';

/**
 * How a device is served.
 *
 * @example
 * serve(device, { vhostUser: '/tmp/disk.sock', once: true, log: (line, about) => console.error(about?.event, line) });
 */
export interface ServeOptions {
  /** The socket to listen on: a path (made 0600, removed at the end) or an inherited listening descriptor. */
  readonly vhostUser: string | number;
  /** Serve one front end, then close. */
  readonly once?: boolean;
  /** Takes each log line and its event. Default: stderr. */
  readonly log?: Log;
  /** When aborted, the server closes, as with `close`. */
  readonly signal?: AbortSignal;
  /**
   * Accept guest memory in a file of any file system. A FUSE server that does not answer then blocks this thread in a
   * page fault.
   */
  readonly allowFileMemory?: boolean;
}

/** Options for a device that is served on threads of its own. */
export interface ServeThreadsOptions extends ServeOptions {
  /** Threads that the queues are spread over, 1 to 256. Default: 1. */
  readonly threads?: number;
  /**
   * Polling before a thread sleeps: `off`, `auto` (adaptive, the default), or microseconds. A module's threads never
   * poll.
   */
  readonly poll?: PollMode;
  /** Processors to pin the threads to, round robin. */
  readonly cpus?: readonly number[];
  /** Disks only: the driver may not write. */
  readonly readOnly?: boolean;
  /** Images only: what accesses it, see `openStore`. Default: `auto`. */
  readonly engine?: EngineName | 'auto';
  /** Images only: bypass the page cache (O_DIRECT). Default: false. */
  readonly direct?: boolean;
  /** Disks only: limits that all threads share, and other disks too that get the same. They may change while it runs. */
  readonly limits?: Limits;
}

/**
 * Serves a device over vhost-user. The socket listens when it returns.
 *
 * A device object is served in Node's own loop: an `async` store works, timers and promises go on. A name is opened on
 * threads of its own, one instance a thread: the path or URL of a module whose default export is a device or a disk, or
 * a disk as `openStore` takes it (`disk.img`, `/dev/vg0/guest`, `mem:1G`).
 *
 * Throws TypeError for an invalid device or option, SystemError when the socket cannot be made: EADDRINUSE, ENOENT,
 * ENAMETOOLONG, …
 *
 * @example
 * const server = serve(new BlockDevice(disk), { vhostUser: '/tmp/disk.sock' });
 * process.once('SIGTERM', () => server.close());
 * @example
 * serve(new URL('./my-disk.ts', import.meta.url), { vhostUser: '/tmp/disk.sock', threads: 2 });
 */
export function serve(device: VirtioDevice, options: ServeOptions): ServedDevice;
export function serve(device: string | URL, options: ServeThreadsOptions): ServedDevice;
export function serve(device: VirtioDevice | string | URL, options: ServeThreadsOptions): ServedDevice {
  checkServeOptions(options);
  const log = options.log ?? ((line: string): void => console.error(line));
  const isNamed = typeof device === 'string' || device instanceof URL;
  if (!isNamed) {
    checkDevice(device);
    for (const option of ['threads', 'poll', 'cpus', 'readOnly', 'engine', 'direct', 'limits'] as const)
      if (options[option] !== undefined)
        throw new TypeError(`serve: ${option} is for a device on threads of its own: pass the path of its module`);
  }
  const server = isNamed ? serveNamed(device, log, options) : serveObject(device, log, options);
  if (options.signal !== undefined) closeOn(options.signal, server);
  return server;
}

function closeOn(signal: AbortSignal, server: ServedDevice): void {
  const close = (): void => void server.close();
  const removeListener = (): void => signal.removeEventListener('abort', close);
  signal.addEventListener('abort', close);
  if (signal.aborted) close();
  // The signal may outlive many servers.
  server.closed.then(removeListener, removeListener);
}

function serveObject(device: VirtioDevice, log: Log, options: ServeOptions): ServedDevice {
  const lines = new LimitedLog<About>(log);
  const { once = false, allowFileMemory = false } = options;
  const server = new LoopServer(device, listen(options.vhostUser), { log: lines.log, once, allowFileMemory });
  void server.closed.then(() => lines.flush());
  return server;
}

function listen(vhostUser: string | number): UnixListener {
  return typeof vhostUser === 'number' ? UnixListener.adopt(vhostUser) : UnixListener.listen(vhostUser);
}

/** Closes the opened store when it cannot listen. */
function listenFor(vhostUser: string | number, opened: OpenedStore | undefined): UnixListener {
  try {
    return listen(vhostUser);
  } catch (error) {
    void opened?.store.close?.();
    throw error;
  }
}

/** Needs no LimitedLog here: each of its threads limits its own lines. */
function serveNamed(device: string | URL, log: Log, options: ServeThreadsOptions): ServedDevice {
  const {
    vhostUser,
    threads = 1,
    poll = 'auto',
    once = false,
    readOnly = false,
    cpus,
    allowFileMemory,
    engine,
    direct,
    limits: { memory: limits } = {},
  } = options;
  const name = device instanceof URL ? fileURLToPath(device) : device;
  const opened = isModule(name) ? undefined : openStore(name, { readOnly, engine, direct });
  const source: DeviceSource =
    opened === undefined
      ? { kind: 'module', module: name, isDisk: false, readOnly, options: {}, limits }
      : { kind: 'blk', store: opened.description, options: {}, limits };
  const listener = listenFor(vhostUser, opened);
  const daemon = new DeviceDaemon({
    ...{ device: source, listener, threads, poll, once, log },
    ...(cpus && { cpus }),
    ...(allowFileMemory !== undefined && { allowFileMemory }),
  });
  const release = async (): Promise<void> => {
    listener[Symbol.dispose]();
    await opened?.store.close?.();
  };
  void daemon.closed.then(release, release);
  return daemon;
}
