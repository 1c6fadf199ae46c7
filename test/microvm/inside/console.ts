// test/microvm/inside: a shell at a stock kernel's /dev/hvc0, on each transport, and its bytes compared.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { note } from '../inside-report.ts';
import { MicroVm } from '../micro-vm.ts';

const BYTES = 96 * 1024;
/** A shell at hvc0, not at the serial port: commas are spaces. */
const SHELL = 'belfry.run=setsid,sh,-i,</dev/hvc0,>/dev/hvc0,2>&1';

const sumOf = (text: string): string => createHash('sha256').update(text).digest('hex');

for (const transport of ['mmio', 'pci']) {
  test(`virtio-${transport}: --console virtio is the guest's hvc0, and its bytes are ours`, async () => {
    await using vm = new MicroVm({ words: ['--console', 'virtio', '--transport', transport], append: SHELL });
    // Through the serial port, which gets no keys.
    await vm.shows(/BELFRY up /);
    vm.type('echo answer=$((6 * 7)) on $(cat /sys/class/tty/console/active)');
    await vm.shows(/answer=42 on ttyS0/);
    const sent = `${randomBytes((BYTES / 4) * 3).toString('base64')}\n`;
    vm.type(`stty raw -echo; echo sta'r't; head -c ${sent.length} | sha256sum; stty sane; echo do'n'e`);
    await vm.shows(/start/);
    const begin = performance.now();
    vm.type(sent.trimEnd());
    const [, sum] = await vm.shows(/([0-9a-f]{64}) {2}-[\s\S]*?done/);
    note(`${transport}: ${sent.length} bytes to the guest in ${((performance.now() - begin) / 1000).toFixed(2)} s`);
    assert.equal(sum, sumOf(sent));
    vm.type(
      "head -c 65536 /dev/urandom | base64 -w 0 >/tmp/goes; echo b'e'gin; cat /tmp/goes; echo; sha256sum </tmp/goes",
    );
    const [, goes = '', goesSum] = await vm.shows(/begin\s+([\w+/=]+)\s+([0-9a-f]{64}) /);
    assert.equal(goesSum, sumOf(goes));
    vm.type('exit 7');
    const { code, everything } = await vm.ended();
    assert.equal(code, 7, everything);
  });
}
