// cli: what the flags of `bench blk` mean.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchCommand } from './bench.ts';

/** Returns what `bench` prints for a command line that it refuses before anything is started. */
function refusal(...args: string[]): string {
  let said = '';
  const command = benchCommand();
  for (const one of [command, ...command.commands]) {
    one.exitOverride().configureOutput({ writeErr: (text) => (said += text) });
  }
  assert.throws(() => command.parse(['blk', ...args], { from: 'user' }));
  return said;
}

for (const [args, says] of [
  [['--bs', '1000'], /--bs.*multiple of 512/],
  [['--bs', '1G'], /--bs.*up to 64M/],
  [['--bs', 'big'], /--bs.*is not a size/],
  [['--depth', '0'], /--depth.*whole number from 1/],
  [['--cpus', '100000'], /--cpus.*whole number from 0 to \d+/],
  [['--queues', '257'], /--queues.*from 1 to 256/],
  [['--op', 'trim'], /--op.*randread/],
  [['--wait', 'spin'], /--wait.*poll, call/],
  [['--seconds', '-1'], /--seconds.*seconds/],
  [['--peer-engines', 'threads,aio'], /--peer-engines.*threads,io_uring,native/],
  [['--against', 'spdk'], /--against.*qemu-storage-daemon, belfry/],
  [['--suite', 'tape'], /--suite.*memory, disk/],
  [['--cells', '4K,8K'], /--cells.*cached,direct,4K,64K,1M,read,write,1,16,64/],
  [['--engine', 'mmap'], /--engine.*auto, mapped, uring, sync/],
  [['--size', 'big'], /--size.*is not a size/],
] as const) {
  test(`bench blk ${args.join(' ')} is refused in one line that says what to type`, () => {
    const said = refusal(...args);
    assert.match(said, says);
    assert.equal(said.trim().split('\n').length, 1);
  });
}
