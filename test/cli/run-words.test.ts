// test/cli: arguments that `run` refuses before it opens /dev/kvm, so that this runs on any machine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { belfry } from './belfry-process.ts';

const slips: readonly [string, args: readonly string[], RegExp][] = [
  ['no kernel', [], /required option '--kernel/],
  ['no processor', ['--kernel', 'k', '--cpus', '0'], /--cpus .* from 1 to 254/],
  ['memory in words', ['--kernel', 'k', '--memory', 'lots'], /--memory .*at least 16M/],
  ['too little memory', ['--kernel', 'k', '--memory', '1M'], /--memory .*at least 16M/],
  ['more memory than there is', ['--kernel', 'k', '--memory', '1000T'], /--memory: this machine has .* itself/],
  ['an unknown transport', ['--kernel', 'k', '--transport', 'isa'], /--transport .* mmio, pci/],
  ['a back end of another kind', ['--kernel', 'k', '--vhost-user', 'sock:net'], /--vhost-user .* SOCKET:blk/],
  ['a back end without a socket', ['--kernel', 'k', '--vhost-user', ':blk'], /--vhost-user .* SOCKET:blk/],
  ['a disk without a name', ['--kernel', 'k', '--disk', ':ro'], /--disk .*image file/],
  ['a network card at no port', ['--kernel', 'k', '--net', 'vm0'], /--net .* "vm0" is not a port; tap:NAME/],
  ['a network card at a tap without a name', ['--kernel', 'k', '--net', 'tap:'], /--net .* has 1 to 15 bytes/],
  ['a word too many', ['kernel', '--kernel', 'k'], /too many arguments/],
];

for (const [name, args, what] of slips) {
  test(`run refuses ${name}`, async () => {
    const { code, stdout, stderr } = await belfry(['run', ...args]);
    assert.match(stderr, what);
    assert.match(stderr, /^belfry: [^\n]*\n$/, 'one line');
    assert.deepEqual([code, stdout], [2, '']);
  });
}
