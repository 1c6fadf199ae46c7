// test/vhost-user/sequences: the back end that recordings are made with: qemu-storage-daemon.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../../src/testing/patience.ts';

/** In `cwd`, where disk.img is; listens at back-end.sock. */
export class StorageDaemon implements AsyncDisposable {
  static readonly path = 'back-end.sock';
  readonly words: readonly string[];
  readonly #child: ChildProcess;
  readonly #cwd: string;

  constructor(cwd: string, queues: number) {
    this.#cwd = cwd;
    const target = `type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=${StorageDaemon.path}`;
    this.words = [
      ...['--blockdev', 'driver=file,node-name=disk,filename=disk.img,discard=unmap'],
      ...['--export', `${target},writable=on,num-queues=${queues}`],
      // It makes this file when it has done all that comes before.
      ...['--pidfile', 'back-end.pid'],
    ];
    this.#child = spawn('qemu-storage-daemon', this.words, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
    process.once('exit', this.#kill);
  }

  async ready(): Promise<void> {
    await eventually('qemu-storage-daemon listens', () => existsSync(join(this.#cwd, 'back-end.pid')));
  }

  static version(): string {
    return /version (\S+)/.exec(execFileSync('qemu-storage-daemon', ['--version'], { encoding: 'utf8' }))?.[1] ?? '';
  }

  readonly #kill = (): void => {
    this.#child.kill('SIGKILL');
  };

  /** SIGTERM, and its end; it removes its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#kill);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await exited;
  }
}
