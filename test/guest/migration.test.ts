// test/guest: a Linux that is migrated live from one QEMU to another while it reads and writes a disk of ours.
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { findQemu } from '../../guests/qemu.ts';
import { eventually } from '../../src/testing/patience.ts';
import { startBelfry, withoutDelays } from '../cli/belfry-process.ts';
import { pattern } from '../reference/array-store.ts';
import { Qmp } from '../vhost-user/sequences/qmp.ts';
import { runDeviceGuest } from './device-guest.ts';
import { guestTest, testFolder } from './guest-case.ts';

const MIB = 2 ** 20;
const DISK_MIB = 24;
/**
 * Read through the page cache, whose pages only the device writes, and compared a round later. The rounds alternate
 * between two parts, so that a page has other content than in the round before.
 */
const PART_MIB = 8;
const WRITTEN_AT = 2 * PART_MIB * 64;
/** The last 4 KiB: the guest ends once this test has written STOP there. */
const MAILBOX = DISK_MIB * 256 - 1;
const STOP = 'stop';
/** So slow that the guest reads all of it several times meanwhile. */
const BYTES_PER_SECOND = 16 * MIB;

const SCRIPT = `
stopped() { [ "$(dd if=/dev/vda bs=4k skip=${MAILBOX} count=1 iflag=direct 2>/dev/null | head -c ${STOP.length})" = ${STOP} ]; }
sum() { dd if=/dev/vda bs=1M skip=$(($1 * ${PART_MIB})) count=${PART_MIB} 2>/dev/null | md5sum; }
check() { [ "$(sum $1)" = "$2" ] || echo 'wrong: read'; }
part0=$(sum 0) part1=$(sum 1) round=0
while ! stopped; do
  round=$((round + 1))
  if [ $((round % 2)) = 0 ]; then old=1 right=$part0 before=$part1; else old=0 right=$part1 before=$part0; fi
  check $old "$before"
  echo 1 >/proc/sys/vm/drop_caches
  check $((1 - old)) "$right"
  dd if=/dev/urandom of=/tmp/content bs=64k count=16 2>/dev/null
  dd if=/tmp/content of=/dev/vda bs=16k seek=${WRITTEN_AT} conv=fsync 2>/dev/null || echo 'wrong: write'
  dd if=/dev/vda bs=16k skip=${WRITTEN_AT} count=64 iflag=direct 2>/dev/null | cmp - /tmp/content || echo 'wrong: written'
  echo "round $round"
done
dmesg | grep -E 'I/O error|timeout|blk_update_request|Buffer I/O' || echo 'no error'
`;

/** The rounds of the guest, wherever it runs. */
class Rounds {
  count = 0;
  readonly onLine = (line: string): void => {
    if (line.startsWith('round ')) this.count = Number(line.slice(6));
  };

  async more(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const before = this.count;
      await eventually(`round ${before + 1}`, () => this.count > before);
    }
  }
}

/** A page that the guest's kernel has zeroed is sent again because of that: no page may be zeroed. */
const KERNEL = ['-append', 'console=ttyS0 quiet panic=-1 init_on_alloc=0'];

function deviceWords(folder: string, name: string): string[] {
  return [
    ...KERNEL,
    ...[
      '-chardev',
      `socket,id=disk,path=${join(folder, `${name}.sock`)}`,
      '-device',
      'vhost-user-blk-pci,chardev=disk,num-queues=2',
    ],
    ...['-qmp', `unix:${join(folder, `${name}.qmp`)},server=on,wait=off`],
  ];
}

async function migrate(source: Qmp, to: string): Promise<void> {
  await source.execute('migrate-set-parameters', { 'max-bandwidth': BYTES_PER_SECOND, 'downtime-limit': 2000 });
  await source.execute('migrate', { uri: `unix:${to}` });
  let state: { readonly status?: string } = {};
  await eventually('the migration ends', async () => {
    state = (await source.execute('query-migrate')) as typeof state;
    return state.status === 'completed' || state.status === 'failed';
  });
  assert.equal(state.status, 'completed', JSON.stringify(state));
}

guestTest('QEMU migrates a guest that reads and writes: every page comes along', findQemu, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  const image = join(folder, 'disk.img');
  writeFileSync(image, pattern(DISK_MIB * MIB));
  const serve = (name: string) =>
    startBelfry(['serve', 'blk', image, '--socket', join(folder, `${name}.sock`), '--shared', '--threads', '2']);
  await using from = serve('source');
  await using to = serve('target');
  for (const one of [from, to]) await one.says(/Serving/);
  const rounds = new Rounds();
  const guest = { folder, cpus: 2, script: SCRIPT, onLine: rounds.onLine };
  const leaving = runDeviceGuest(t, peer, { ...guest, words: deviceWords(folder, 'source') });
  await rounds.more(2);

  const incoming = join(folder, 'incoming');
  const words = [...deviceWords(folder, 'target'), '-incoming', `unix:${incoming}`];
  const arriving = runDeviceGuest(t, peer, { ...guest, words });
  let target: Qmp | undefined;
  await eventually('the target waits', async () => {
    target ??= await Qmp.connect(join(folder, 'target.qmp')).catch(() => undefined);
    return target !== undefined;
  });
  const source = await Qmp.connect(join(folder, 'source.qmp'));
  await migrate(source, incoming);
  await source.execute('quit');
  const saidThere = await leaving;
  await rounds.more(3);
  const fd = openSync(image, 'r+');
  writeSync(fd, STOP, MAILBOX * 4096);
  closeSync(fd);
  const saidHere = await arriving;
  for (const qmp of [source, target]) qmp?.[Symbol.dispose]();

  assert.match(saidThere, /^round 2$/m, saidThere);
  assert.match(saidHere, /^no error$/m, saidHere);
  assert.doesNotMatch(saidThere + saidHere, /wrong/, `${saidThere}\n--\n${saidHere}`);
  for (const one of [from, to]) {
    one.kill('SIGTERM');
    const { code, stderr } = await one.ended;
    assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
  }
  t.diagnostic(`${rounds.count} rounds`);
});
