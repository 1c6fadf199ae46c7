// test/microvm/inside: an unmodified Debian kernel, from the first instruction to an interactive shell.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../../src/testing/patience.ts';
import { note } from '../inside-report.ts';
import { MicroVm } from '../micro-vm.ts';

const IDLE_MS = 5000;

test('a shell on the serial console answers, the guest idles without work, and its exit code is ours', async () => {
  const begin = performance.now();
  await using vm = new MicroVm();
  const [, kernel] = await vm.shows(/BELFRY up (\S+)\s/);
  note(`Linux ${kernel} up ${((performance.now() - begin) / 1000).toFixed(1)} s after the command`);
  const [start] = await vm.says(/first instruction.*/);
  note(start);
  vm.type('echo answer=$((6 * 7))');
  await vm.shows(/answer=42/);
  await eventually('a while in which an idle guest uses less than half a processor', async () => {
    const before = vm.processorSeconds();
    // Time: what is measured is the processor time of a while in which nothing happens.
    await sleep(IDLE_MS);
    const share = (vm.processorSeconds() - before) / (IDLE_MS / 1000);
    note(`an idle guest uses ${(100 * share).toFixed(1)} % of a processor`);
    return share < 0.5;
  });
  vm.type('exit 9');
  const { code, everything } = await vm.ended();
  assert.equal(code, 9, everything);
});

test('a guest that panics ends with 1 and a line that says so', async () => {
  await using vm = new MicroVm({ append: 'rdinit=/there-is-no-such-init root=' });
  await vm.says(/^belfry: the guest asked for a reset/m);
  const { code, everything } = await vm.ended();
  assert.equal(code, 1, everything);
});
