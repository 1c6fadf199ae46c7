// test/microvm/bed: runs a command in a Linux that has a real kvm-amd, on a processor that QEMU emulates.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DebianKernel } from '../../../guests/debian-kernel.ts';
import { findDebianKernel } from '../../../guests/debian-kernel.ts';
import type { FetchOptions } from '../../../guests/fetch-options.ts';
import type { GuestCommand } from '../../../guests/guest-peer.ts';
import { PeerMissingError } from '../../../guests/guest-peer.ts';
import { runGuestProcess } from '../../../guests/guest-process.ts';
import { findExecutable, staticBusybox } from '../../../guests/guest-programs.ts';
import { guestInitramfs, scriptEntry } from '../../../guests/initramfs.ts';
import { patience, Silence } from '../../../src/testing/patience.ts';
import { describeQueue } from '../../../src/transports/queue/queue-report.ts';
import { BedDisk, type DiskState } from './bed-disk.ts';
import { askMonitor, threadsOf } from './bed-monitor.ts';
import { makeBedImage } from './image.ts';
import { BEAT, commandScript, ENDED, outerScript, UP } from './outer-script.ts';
import { takeTurn } from './turn.ts';

const MODULES = ['virtio_pci', 'virtio_blk', 'ext4', 'kvm_amd', 'null_blk', 'dm_flakey', 'dm_delay'];
const MEMORY_MIB = 2048;
/** A bed whose beat, which comes every few seconds, is missing for so long on a quiet machine stands still. */
const SILENCE_MS = 90_000;
/**
 * QEMU loses an interrupt now and then: its VMRUN and #VMEXIT change the word of pending interrupts without the lock under which a timer
 * changes it. A processor that halts then sleeps for ever, the interrupt in its APIC, unless another comes: so one comes all the time.
 */
const TICKS = 'nohz=off highres=off';
const LOOK_MS = 1000;
const WAITING_MS = 30_000;

export interface BedOptions extends FetchOptions {
  readonly cpus?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Every line of the command's output and of the outer kernel's console. */
  readonly onLine: (line: string) => void;
  /** Told what is being done before the command begins, in a few words. */
  readonly onStage?: (doing: string) => void;
}

export interface BedReport {
  /** Exit code of the command; undefined when the bed died before it ended. */
  readonly exitCode: number | undefined;
  /** Making the image; from starting QEMU to the command; the whole. */
  readonly imageMs: number;
  readonly bootMs: number;
  readonly totalMs: number;
}

/**
 * Runs `command` in the folder of a copy of this checkout, as root, with nothing on standard input.
 * Its disk is read-only; /tmp, /var/tmp and /dev/shm are in memory. Leaves no process and no file behind.
 * Throws `PeerMissingError` where QEMU, a kernel or a program for the disk is missing, SilentBedError when it stands still.
 */
export async function runInBed(command: readonly string[], options: BedOptions): Promise<BedReport> {
  const qemu = await findExecutable('qemu-system-x86_64');
  if (qemu === undefined) throw new PeerMissingError('QEMU is not installed: apt-get install qemu-system-x86');
  const onStage = options.onStage ?? (() => {});
  using _turn = await takeTurnAloud(onStage);
  onStage('making its disk');
  const kernel = await findDebianKernel(MODULES, options);
  const folder = await mkdtemp(join(tmpdir(), 'belfry-bed-'));
  try {
    const begin = performance.now();
    const image = join(folder, 'disk.img');
    await mkdir(join(folder, 'root'));
    await makeBedImage(image, join(folder, 'root'), options);
    await rm(join(folder, 'root'), { recursive: true });
    const script = commandScript(command, options.environment ?? {});
    await writeFile(join(folder, 'initramfs'), await outerInitramfs(kernel, script, options));
    const imageMs = performance.now() - begin;
    await using disk = await BedDisk.serve({ image, socket: socketIn(folder), onLine: options.onLine });
    onStage(`booting from the disk, which took ${seconds(imageMs)}`);
    return { ...(await boot(qemu, kernel, { folder, disk }, options)), imageMs, totalMs: performance.now() - begin };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits for its turn, and says so again and again: that may take longer than anybody would wait for a sign of life. */
async function takeTurnAloud(onStage: (doing: string) => void): Promise<Disposable> {
  const tell = (): void => onStage('waiting for another test bed on this machine to end');
  let again: NodeJS.Timeout | undefined;
  try {
    return await takeTurn(() => {
      tell();
      again = setInterval(tell, WAITING_MS);
    });
  } finally {
    clearInterval(again);
  }
}

async function outerInitramfs(kernel: DebianKernel, script: string, options: FetchOptions): Promise<Uint8Array> {
  const { modules } = kernel;
  const init = scriptEntry('init', outerScript(modules.map(({ name }) => name)));
  return guestInitramfs({ files: [await staticBusybox(options), init, scriptEntry('command', script)], modules });
}

/** How the message of `SilentBedError` begins. */
export const STOOD_STILL = 'the test bed has said nothing';

/** Nothing came from the bed for a while, not even its beat. */
export class SilentBedError extends Error {
  /** How the queues of its disk stood. */
  readonly disk: DiskState;

  constructor(silentMs: number, disk: DiskState, machine: string) {
    const queues = disk === undefined ? ['its disk does not answer either'] : disk.map(describeQueue);
    super(`${[`${STOOD_STILL} for ${seconds(silentMs)}`, ...queues].join('; ')}\n${machine}`);
    this.disk = disk;
  }
}

async function boot(
  qemu: string,
  kernel: DebianKernel,
  { folder, disk }: { readonly folder: string; readonly disk: BedDisk },
  options: BedOptions,
): Promise<Pick<BedReport, 'exitCode' | 'bootMs'>> {
  const begin = performance.now();
  const silence = new Silence();
  let bootMs = 0;
  let exitCode: number | undefined;
  const onLine = (raw: string): void => {
    const line = raw.trimEnd();
    silence.end();
    if (line === BEAT) return;
    const ended = ENDED.exec(line);
    if (ended) exitCode = Number(ended[1]);
    else if (line === UP) {
      bootMs = performance.now() - begin;
      options.onStage?.(`up after ${seconds(bootMs)}`);
    } else if (exitCode === undefined) options.onLine(line.replaceAll(join(folder, 'root'), ''));
  };
  const command = outerCommand(qemu, kernel.image, folder, options.cpus ?? 1);
  const silent = new AbortController();
  let pid = 0;
  const watch = setInterval(async () => {
    const silentMs = silence.ms;
    if (silentMs < patience(SILENCE_MS)) return;
    clearInterval(watch);
    const machine = await describeMachine(folder, pid);
    silent.abort(new SilentBedError(silentMs, await disk.state(), machine));
  }, LOOK_MS);
  const { signal } = options;
  const stop = signal === undefined ? silent.signal : AbortSignal.any([signal, silent.signal]);
  try {
    await runGuestProcess(command, { onLine, signal: stop, onStart: (id) => (pid = id) });
  } finally {
    clearInterval(watch);
  }
  return { exitCode, bootMs };
}

async function describeMachine(folder: string, pid: number): Promise<string> {
  const threads = threadsOf(pid);
  const monitor = await askMonitor(monitorIn(folder));
  return [monitor, 'threads of QEMU, before and after:', threads, threadsOf(pid)].join('\n');
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const socketIn = (folder: string): string => join(folder, 'disk.sock');
const monitorIn = (folder: string): string => join(folder, 'monitor.sock');

function outerCommand(qemu: string, kernelImage: string, folder: string, cpus: number): GuestCommand {
  return {
    file: qemu,
    words: [
      ...['-accel', 'tcg', '-machine', 'pc', '-cpu', 'max', '-smp', `${cpus}`, '-m', `${MEMORY_MIB}`],
      ...['-object', `memory-backend-memfd,id=memory,size=${MEMORY_MIB}M,share=on`, '-numa', 'node,memdev=memory'],
      ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
      ...['-qmp', `unix:${monitorIn(folder)},server=on,wait=off`],
      ...['-kernel', kernelImage, '-initrd', join(folder, 'initramfs')],
      ...['-append', `console=ttyS0 quiet panic=-1 mitigations=off nokaslr ${TICKS}`],
      ...['-chardev', `socket,id=disk,path=${socketIn(folder)}`],
      ...['-device', 'vhost-user-blk-pci,chardev=disk'],
    ],
  };
}
