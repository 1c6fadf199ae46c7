// test/vhost-user/sequences: back end, recorder and VMM of one recording, and what a scenario does with them.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../../../src/testing/patience.ts';
import { Qmp } from './qmp.ts';
import { RecordedGuest } from './recorded-guest.ts';
import { Recorder } from './recorder.ts';
import { StorageDaemon } from './storage-daemon.ts';
import type { Vmm, VmmBoot } from './vmm.ts';

const DISK_BYTES = 8 << 20;
const FRONT_END_SOCKET = 'disk.sock';

export interface MachineOptions extends Omit<VmmBoot, 'socket'> {
  readonly offered: bigint;
  /** What is on the disk from the start. */
  readonly image?: string;
}

export class RecordedMachine implements AsyncDisposable {
  readonly commands: string[] = [];
  readonly recorder: Recorder;
  readonly #folder: string;
  readonly #queues: number;
  readonly #guest: RecordedGuest;
  #daemon: StorageDaemon;
  #qmp: Qmp | undefined;

  private constructor(folder: string, vmm: Vmm, daemon: StorageDaemon, options: MachineOptions) {
    this.#folder = folder;
    this.#queues = options.queues;
    this.#daemon = daemon;
    const path = join(folder, FRONT_END_SOCKET);
    this.recorder = new Recorder({ path, backEnd: join(folder, StorageDaemon.path), offered: options.offered });
    const words = vmm.words({ ...options, socket: FRONT_END_SOCKET });
    this.commands.push([vmm.shownAs, ...words].join(' '), ['qemu-storage-daemon', ...daemon.words].join(' '));
    this.#guest = new RecordedGuest({ command: vmm.program, words, cwd: folder });
  }

  /** Starts the back end, then the VMM, in a folder with what they need. */
  static async start(vmm: Vmm, initramfs: Uint8Array, options: MachineOptions): Promise<RecordedMachine> {
    const folder = mkdtempSync(join(tmpdir(), 'sequences-'));
    const at = (name: string): string => join(folder, name);
    if (options.image === undefined) {
      writeFileSync(at('disk.img'), '');
      truncateSync(at('disk.img'), DISK_BYTES);
    } else symlinkSync(options.image, at('disk.img'));
    writeFileSync(at('initramfs'), initramfs);
    if (vmm.kernelImage !== undefined) symlinkSync(vmm.kernelImage, at('vmlinuz'));
    // For states of the machine.
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', at('state.qcow2'), '256M']);
    const daemon = new StorageDaemon(folder, options.queues);
    await daemon.ready();
    return new RecordedMachine(folder, vmm, daemon, options);
  }

  get kernel(): string {
    return this.#guest.kernel;
  }

  /** Waits until the guest is up. Its driver has looked for partitions, if there is a disk. */
  async booted(): Promise<void> {
    await this.#guest.line(/BELFRY ready$/);
    this.#qmp ??= await Qmp.connect(join(this.#folder, 'qmp.sock')).catch(() => undefined);
    await this.recorder.quiet();
    this.recorder.note('requests', 'the driver looked for partitions');
  }

  /** Waits for a line on the console. */
  async console(pattern: RegExp, what: string): Promise<void> {
    await this.#guest.line(pattern);
    this.recorder.note('requests', what);
  }

  /** Writes and reads in the guest, on every ring. */
  async requests(): Promise<void> {
    await this.recorder.quiet();
    await this.#guest.run('requests');
    await this.recorder.quiet();
    this.recorder.note('requests', 'the guest wrote and read, on each CPU');
  }

  /** A line of shell in the guest. */
  async guest(line: string): Promise<void> {
    await this.recorder.quiet();
    this.recorder.note('command', `guest: ${line}`);
    await this.#guest.run(line);
    await this.recorder.quiet();
  }

  /** A line on the console that the guest does not come back from, or not with a word that it did it. */
  async types(line: string): Promise<void> {
    await this.recorder.quiet();
    this.recorder.note('command', `guest: ${line}`);
    this.#guest.start(line);
  }

  /** A command of QEMU's monitor; what it refuses is noted down as well. Gives whether it did it. */
  async qmp(command: string, words: object = {}): Promise<boolean> {
    await this.recorder.quiet();
    this.recorder.note('command', `QMP: ${JSON.stringify({ execute: command, arguments: words })}`);
    try {
      const answer = await (this.#qmp as Qmp).execute(command, words);
      // HMP through QMP says what is wrong in what it returns.
      if (typeof answer === 'string' && answer !== '') throw new Error(answer.trim());
      return true;
    } catch (error) {
      this.recorder.note('refused', (error as Error).message);
      return false;
    } finally {
      await this.recorder.quiet();
    }
  }

  /** Waits for an event of QEMU's monitor. */
  async event(name: string): Promise<void> {
    await (this.#qmp as Qmp).event(name);
    await this.recorder.quiet();
  }

  /** A socket in the machine's folder where somebody takes connections and never reads. */
  deadEnd(name: string): Disposable {
    const server = createServer({ pauseOnConnect: true }, (socket) => socket.on('error', () => {}));
    server.listen(join(this.#folder, name)).unref();
    return { [Symbol.dispose]: () => server.close() };
  }

  /** Ends the back end and starts it anew. */
  async restartBackEnd(): Promise<void> {
    await this.recorder.quiet();
    this.recorder.note('command', 'the back end ends, and starts again');
    this.recorder.hangUp();
    await this.#daemon[Symbol.asyncDispose]();
    rmSync(join(this.#folder, 'back-end.pid'), { force: true });
    this.#daemon = new StorageDaemon(this.#folder, this.#queues);
    await this.#daemon.ready();
    this.recorder.listen();
    await eventually('the VMM is back', () => this.recorder.isConnected);
    await this.recorder.quiet();
  }

  /** Waits for the VMM's end. */
  async ended(): Promise<void> {
    await this.#guest.exited();
    await this.recorder.quiet();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#qmp?.[Symbol.dispose]();
    await this.#guest[Symbol.asyncDispose]();
    this.recorder[Symbol.dispose]();
    await this.#daemon[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
