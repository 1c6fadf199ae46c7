// Upper floor: `belfry serve blk`: one disk, one socket, until SIGTERM.
import { Command } from 'commander';
import { DiskDaemon } from '../daemon/disk-daemon.ts';
import { ModuleDisk } from '../daemon/module-disk.ts';
import type { PollMode } from '../daemon/poll-mode.ts';
import type { ServedDisk } from '../daemon/served-disk.ts';
import { QUEUES_DEFAULT, QUEUES_MAX } from '../devices/blk/block-config.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { forward } from '../stores/filters/forward.ts';
import { readOnly } from '../stores/filters/read-only.ts';
import { type OpenedStore, openStore } from '../stores/open-store.ts';
import { SOCKET_PATH_MAX, UnixListener } from '../sys/unix-socket.ts';
import { isDiskModule, loadDiskModule } from './disk-module.ts';
import { LogFile } from './log-file.ts';
import * as option from './options.ts';
import { pollMode } from './poll-option.ts';
import { ServeReport } from './serve-report.ts';
import { UsageError } from './usage-error.ts';

interface ServeFlags {
  readonly socket?: string;
  readonly fd?: number;
  readonly readOnly: boolean;
  readonly queues: number;
  readonly threads: number;
  readonly serial: string;
  readonly blockSize: number;
  readonly once: boolean;
  readonly poll: PollMode;
  readonly cpus?: readonly number[];
  readonly json: boolean;
  readonly quiet: boolean;
  readonly log?: string;
}

const EXAMPLES = `
STORE is an image file, a block device, mem:SIZE (a disk of memory), or a module whose default export is a disk.

SIGTERM and Ctrl-C finish what is in flight and end it. SIGHUP looks at the size of STORE again, and opens FILE of --log
again, as logrotate wants it. SIGUSR2 prints the state of every queue.

Examples:
  belfry serve blk disk.img --socket /tmp/disk.sock
  belfry serve blk mem:1G --socket /tmp/ram.sock --threads 2
  belfry serve blk ./my-disk.ts --socket /tmp/mine.sock --read-only --log mine.log
  systemd-socket-activate -l /run/disk.sock belfry serve blk /dev/vg0/guest
`;

export function serveCommand(): Command {
  const blk = new Command('blk')
    .description('serve a disk (virtio-blk)')
    .argument('<store>', 'what stands behind the disk')
    .option('--socket <path>', 'the vhost-user socket to make')
    .option('--fd <number>', 'an inherited listening socket instead', option.wholeNumber(0, 1 << 20))
    .option('--read-only', 'refuse writes', false)
    .option(
      '--queues <n>',
      'queues offered; a VMM uses what it needs',
      option.wholeNumber(1, QUEUES_MAX),
      QUEUES_DEFAULT,
    )
    .option('--threads <n>', 'threads the queues are spread over', option.wholeNumber(1, QUEUES_MAX), 1)
    .option('--serial <text>', 'serial number the guest reads', option.serial, 'belfry')
    .option('--block-size <bytes>', 'logical block size', option.blockSize, 512)
    .option('--once', 'end when the first VMM leaves', false)
    .option('--poll <mode>', 'poll before sleeping: off, auto, or microseconds', pollMode, 'auto')
    .option('--cpus <list>', 'processors to keep the threads on, e.g. 1 or 2,3', option.cpuList)
    .option('--log <file>', 'append what would be printed to a file, with the time')
    .option('--json', 'print events as JSON lines', false)
    .option('--quiet', 'print only what went wrong', false)
    .addHelpText('after', EXAMPLES)
    .action(async (spec: string, flags: ServeFlags) => serveBlk(spec, flags));
  return new Command('serve')
    .description('serve a device to virtual machines over vhost-user')
    .addHelpText('after', '\nExample:\n  belfry serve blk disk.img --socket /tmp/disk.sock\n')
    .addCommand(blk);
}

async function serveBlk(spec: string, flags: ServeFlags): Promise<void> {
  checkFlags(flags);
  using file = flags.log === undefined ? undefined : new LogFile(flags.log);
  const report = new ServeReport(flags, file);
  process.on('SIGHUP', () => report.reopen());
  const device = { queues: flags.queues, serial: flags.serial, blockSize: flags.blockSize };
  const { once, threads, poll } = flags;
  if (isDiskModule(spec)) {
    if (threads > 1) throw new UsageError('--threads: a disk module runs on one thread');
    const loaded = await loadDiskModule(spec);
    const store = named(flags.readOnly ? readOnly()(loaded) : loaded, spec);
    await run(
      store,
      flags,
      report,
      (listener) => new ModuleDisk(store, { device, listener, once, log: report.log }),
      'off',
    );
    return;
  }
  const { store, description } = openImage(spec, flags.readOnly);
  const cpus = flags.cpus === undefined ? {} : { cpus: flags.cpus };
  const start = (listener: UnixListener): ServedDisk =>
    new DiskDaemon({
      store: description,
      device,
      listener,
      threads,
      poll,
      once,
      log: report.log,
      ownsProcess: true,
      ...cpus,
    });
  await run(store, flags, report, start, poll);
  store.close?.();
}

async function run(
  store: BlockStore,
  flags: ServeFlags,
  report: ServeReport,
  start: (listener: UnixListener) => ServedDisk,
  poll: PollMode,
): Promise<void> {
  if (store.sizeBytes % flags.blockSize !== 0)
    throw new UsageError(`--block-size: the disk's ${store.sizeBytes} bytes are not a multiple of ${flags.blockSize}`);
  // Before there is a socket, or who stopped it now would leave it behind.
  let started: ServedDisk | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => started?.stop());
  process.on('SIGHUP', () => started?.refresh());
  using listener = openListener(flags);
  const disk = start(listener);
  started = disk;
  process.on('SIGUSR2', async () => report.queues(await disk.report()));
  await disk.ready();
  const { queues, threads } = flags;
  report.listening(
    {
      name: store.name ?? 'disk',
      sizeBytes: store.sizeBytes,
      readOnly: store.write === undefined,
      queues,
      threads,
      poll,
    },
    flags.socket,
  );
  report.follow(disk);
  report.closed(await disk.closed, disk);
}

function openImage(spec: string, readOnly: boolean): OpenedStore {
  try {
    return openStore(spec, { readOnly });
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`${spec}: ${error.message}`);
    throw error;
  }
}

function checkFlags({ socket, fd, threads, queues }: ServeFlags): void {
  if (socket !== undefined && fd !== undefined) throw new UsageError('--socket and --fd exclude each other');
  if (threads > queues) throw new UsageError(`--threads ${threads}: there are only ${queues} queues to spread`);
  if (socket !== undefined && Buffer.byteLength(socket) > SOCKET_PATH_MAX) {
    throw new UsageError(
      `--socket: a socket path has at most ${SOCKET_PATH_MAX} bytes, this one has ${Buffer.byteLength(socket)}`,
    );
  }
}

/** `--socket`, `--fd`, or the first socket that systemd passed on (sd_listen_fds(3)). */
function openListener({ socket, fd }: ServeFlags): UnixListener {
  if (socket !== undefined) return UnixListener.listen(socket);
  if (fd !== undefined) return UnixListener.adopt(fd);
  const SD_LISTEN_FDS_START = 3;
  if (process.env.LISTEN_PID === String(process.pid) && Number(process.env.LISTEN_FDS) >= 1)
    return UnixListener.adopt(SD_LISTEN_FDS_START);
  throw new UsageError('--socket PATH (or --fd N) says where virtual machines find the disk');
}

function named(store: BlockStore, name: string): BlockStore {
  const forwarded = forward(store);
  forwarded.name ??= name;
  return forwarded;
}
