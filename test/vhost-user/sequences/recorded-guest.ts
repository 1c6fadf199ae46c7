// test/vhost-user/sequences: the guest of a recording: a Linux whose /init runs commands from its console.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { staticBusybox } from '../../../guests/guest-programs.ts';
import { guestInitramfs, scriptEntry } from '../../../guests/initramfs.ts';
import type { KernelModule } from '../../../guests/kernel-modules.ts';

/** `requests`: each CPU writes 16 KiB and reads them, past the page cache. With a queue a CPU, every queue is used. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
export PATH=/sbin:/bin
requests() {
  cpu=0
  while [ -d /sys/devices/system/cpu/cpu$cpu ] || [ $cpu = 0 ]; do
    on="taskset $((1 << cpu))"
    [ -d /sys/devices/system/cpu/cpu1 ] || on=
    $on dd if=/dev/urandom of=/dev/vda bs=4k seek=$((16 + 4 * cpu)) count=4 oflag=direct 2>/dev/null || return
    $on dd if=/dev/vda of=/dev/null bs=4k skip=$((16 + 4 * cpu)) count=4 iflag=direct 2>/dev/null || return
    cpu=$((cpu + 1))
  done
}
for module in MODULES; do insmod /modules/$module.ko; done
echo "BELFRY kernel $(uname -r)"
echo 'BELFRY ready'
while read -r line; do eval "$line"; echo "BELFRY did $?"; done
`;

/** The first root file system of a guest that loads these modules. */
export async function recordedInitramfs(modules: readonly KernelModule[]): Promise<Uint8Array> {
  const init = scriptEntry('init', INIT.replace('MODULES', modules.map(({ name }) => name).join(' ')));
  return guestInitramfs({ files: [await staticBusybox({}), init], modules });
}

export interface GuestOptions {
  readonly command: string;
  readonly words: readonly string[];
  readonly cwd: string;
}

/** A VMM and the guest on its standard input and output. */
export class RecordedGuest implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #onLine = (): void => {};
  #exited: Promise<unknown>;
  kernel = '';

  constructor({ command, words, cwd }: GuestOptions) {
    this.#child = spawn(command, words, { cwd, stdio: 'pipe', detached: true });
    process.once('exit', this.#kill);
    this.#exited = once(this.#child, 'exit');
    for (const stream of [this.#child.stdout, this.#child.stderr])
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#heard(line.trim()));
  }

  #heard(line: string): void {
    if (process.env.RECORD_VERBOSE === '1') console.error(`  | ${line}`);
    this.kernel = /BELFRY kernel (\S+)/.exec(line)?.[1] ?? this.kernel;
    this.#lines.push(line);
    this.#onLine();
  }

  /** Waits for a line, or takes the first that came already; forgets all up to it. Rejects when the VMM ends first. */
  async line(pattern: RegExp): Promise<string> {
    const ended = this.#exited.then(() => 'ended' as const);
    for (;;) {
      const at = this.#lines.findIndex((line) => pattern.test(line));
      if (at >= 0) return this.#lines.splice(0, at + 1).at(-1) as string;
      const next = new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
      if ((await Promise.race([next, ended])) === 'ended')
        throw new Error(`the VMM ended before ${pattern}:\n${this.#lines.slice(-20).join('\n')}`);
    }
  }

  /** Has the guest run a line of shell and waits until it did. Throws when that fails. */
  async run(line: string): Promise<void> {
    this.start(line);
    const did = await this.line(/^BELFRY did \d+$/);
    if (did !== 'BELFRY did 0')
      throw new Error(`the guest's "${line}" failed: ${did}\n${this.#lines.slice(-20).join('\n')}`);
  }

  /** Has the guest run a line of shell that it does not come back from. */
  start(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Waits for the VMM's end. */
  async exited(): Promise<void> {
    await this.#exited;
  }

  /** With everything it started: User-Mode Linux is many processes. */
  readonly #kill = (): void => {
    try {
      process.kill(-(this.#child.pid as number), 'SIGKILL');
    } catch {
      // Gone already.
    }
  };

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#kill);
    this.#kill();
    await this.#exited;
  }
}
