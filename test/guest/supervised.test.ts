// test/guest: QEMU with `reconnect=1` on a supervised disk whose device processes are killed and upgraded: its Linux sees no error.
import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { findQemu } from '../../guests/qemu.ts';
import { eventually } from '../../src/testing/patience.ts';
import { belfry } from '../cli/belfry-process.ts';
import { Supervised } from '../cli/supervised.ts';
import { tellProgress } from '../progress.ts';
import { makeImage } from './back-end.ts';
import { runDeviceGuest } from './device-guest.ts';
import { digestOf, guestTest, testFolder } from './guest-case.ts';

/** `warm-kill` waits until a process stands by. */
type Step = 'kill' | 'warm-kill' | 'upgrade';

const ROUND: readonly Step[] = ['upgrade', 'kill', 'kill', 'warm-kill', 'upgrade', 'warm-kill'];
/** So many in CI, one on the machine of a person who waits. */
const steps = Array.from({ length: process.env.CI === 'true' ? 3 : 1 }, () => ROUND).flat();

const DISK_MIB = 64;
/** Each writes and compares a part of the disk of its own; the last one through the page cache, so at a great depth. */
const WORKERS = 4;
/** Rounds of all workers between two steps. */
const ROUNDS_BETWEEN = 6;
/** The last 4 KiB of the disk: the workers end once this test has written STOP there. */
const MAILBOX = DISK_MIB * 256 - 1;
const STOP = 'stop';

/** A round: 1 MiB of other content is written to the part, read back, and compared. */
const SCRIPT = `
dd if=/dev/urandom of=/tmp/content bs=1M count=4 2>/dev/null
write() { dd if=/tmp/round$1 of=/dev/vda bs=16k seek=$(($1 * 1024)) $2 2>/tmp/error$1; }
stopped() { [ "$(dd if=/dev/vda bs=4k skip=${MAILBOX} count=1 iflag=direct 2>/dev/null | head -c ${STOP.length})" = ${STOP} ]; }
work() {
  round=0
  while ! stopped; do
    round=$((round + 1))
    dd if=/tmp/content of=/tmp/round$1 bs=64k skip=$(((round * 7 + $1 * 11) % 48)) count=16 2>/dev/null
    if [ $1 = ${WORKERS - 1} ]; then write $1 conv=fsync; else write $1 oflag=direct; fi || echo "worker $1: $(cat /tmp/error$1)"
    echo 1 >/proc/sys/vm/drop_caches
    dd if=/dev/vda bs=16k skip=$(($1 * 1024)) count=64 iflag=direct 2>/dev/null | cmp - /tmp/round$1 || echo "worker $1: other content"
    echo "round $round of worker $1"
  done
}
for worker in $(seq 0 ${WORKERS - 1}); do work $worker & done
wait
sync
echo 3 >/proc/sys/vm/drop_caches
echo "disk $(sha256sum </dev/vda)"
dmesg | grep -E 'I/O error|timeout|blk_update_request|Buffer I/O' || echo 'no error'
`;

/** Does the steps one after the other, each after some rounds of the guest, which goes on until all are done. */
class Steps {
  readonly done: Step[] = [];
  rounds = 0;
  readonly #supervised: Supervised;
  readonly #image: string;
  #nextAt = ROUNDS_BETWEEN;
  #isBusy = false;
  #error: unknown;

  constructor(supervised: Supervised, image: string) {
    this.#supervised = supervised;
    this.#image = image;
  }

  onLine(line: string): void {
    if (!line.startsWith('round ')) return;
    this.rounds++;
    if (this.#isBusy || this.rounds < this.#nextAt) return;
    this.#isBusy = true;
    const step = steps[this.done.length];
    if (step === undefined) return this.#stop();
    this.#do(step).catch((error) => {
      this.#error = error;
      this.#stop();
    });
  }

  #stop(): void {
    const fd = openSync(this.#image, 'r+');
    writeSync(fd, STOP, MAILBOX * 4096);
    closeSync(fd);
  }

  async #do(step: Step): Promise<void> {
    const restarts = this.#supervised.count('restarted');
    if (step === 'warm-kill') await this.#supervised.standsBy();
    if (step === 'upgrade') {
      const { code, stderr } = await belfry(['upgrade', '--socket', this.#supervised.socket]);
      assert.equal(code, 0, stderr);
    } else process.kill(this.#supervised.devicePid, 'SIGKILL');
    await eventually('another process serves', () => this.#supervised.count('restarted') > restarts);
    this.done.push(step);
    this.#nextAt = this.rounds + ROUNDS_BETWEEN;
    this.#isBusy = false;
  }

  /** Throws what a step failed of. */
  check(): void {
    if (this.#error !== undefined) throw this.#error;
    assert.deepEqual(this.done, steps);
  }
}

guestTest(
  'QEMU reconnects to a supervised disk after kills and upgrades: no I/O error, and the data is right',
  findQemu,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const image = await makeImage(folder, DISK_MIB);
    await using supervised = new Supervised(image, join(folder, 'disk.sock'), ['--queues', '2']);
    await supervised.process.says(/"listening"/);
    const driving = new Steps(supervised, image);
    const said = await runDeviceGuest(t, peer, {
      ...{ folder, cpus: 2, script: SCRIPT },
      words: [
        ...['-chardev', `socket,id=disk,path=${supervised.socket},reconnect=1`],
        ...['-device', 'vhost-user-blk-pci,chardev=disk,num-queues=2'],
      ],
      onLine: (line) => {
        if (line.startsWith('round ')) tellProgress(`${t.name}: ${line}`);
        driving.onLine(line);
      },
    });
    driving.check();
    assert.match(said, /^no error$/m, said);
    assert.doesNotMatch(said, /^worker \d: /m, said);
    assert.equal(/^disk ([0-9a-f]{64})/m.exec(said)?.[1], await digestOf(image));
    assert.equal(supervised.count('died'), steps.filter((step) => step !== 'upgrade').length);
    supervised.process.kill('SIGTERM');
    const { code, stderr } = await supervised.process.ended;
    assert.deepEqual([code, stderr], [0, '']);
    t.diagnostic(`${steps.join(', ')}; ${driving.rounds} rounds`);
  },
);
