// test/cli: kernels, initrds and disks that `run` refuses before it opens /dev/kvm, so that this runs on any machine.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Payload } from '../../src/testing/payload.ts';
import { bzImageKernel, elfKernel, KERNEL_ORIGIN } from '../../src/testing/payload-kernel.ts';
import { belfry, type Ended, testFolder } from './belfry-process.ts';

const FAILURE = 1;
const USAGE = 2;

const program = (): Payload => new Payload('long', KERNEL_ORIGIN).hlt();

/** A folder of its own with a kernel, and an image of a disk. */
function folderWithKernel(t: TestContext): string {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'kernel'), elfKernel(program()));
  writeFileSync(join(folder, 'image'), new Uint8Array(1 << 20));
  return folder;
}

function assertRefused({ code, stdout, stderr }: Ended, expected: number, what: RegExp): void {
  assert.match(stderr, what);
  assert.match(stderr, /^belfry: [^\n]*\n$/, 'one line');
  assert.deepEqual([code, stdout], [expected, '']);
}

const small = ['--memory', '16M'];
const kernels: readonly [string, args: readonly string[], code: number, RegExp][] = [
  ['a kernel that is not there', ['--kernel', 'nowhere'], FAILURE, /the kernel nowhere does not exist/],
  ['a kernel that is none', ['--kernel', 'text'], FAILURE, /text is not a kernel: neither a bzImage .* vmlinux/],
  ['a folder for a kernel', ['--kernel', '.'], FAILURE, /the kernel \. is not a regular file/],
  ['a device for a kernel', ['--kernel', '/dev/null'], FAILURE, /\/dev\/null is not a regular file/],
  ['a kernel cut off', ['--kernel', 'short'], FAILURE, /short is cut off/],
  [
    'an initrd that is not there',
    ['--kernel', 'kernel', '--initrd', 'none'],
    FAILURE,
    /the initrd none does not exist/,
  ],
  ['an empty initrd', ['--kernel', 'kernel', '--initrd', 'empty'], FAILURE, /the initrd empty is empty/],
  [
    'an initrd that does not fit',
    ['--kernel', 'kernel', '--initrd', 'large', ...small],
    FAILURE,
    /16 MiB .* too few: .* 20 MiB/,
  ],
  [
    'a command line that is too long',
    ['--kernel', 'kernel', '--append', 'x'.repeat(3000)],
    FAILURE,
    /3000 bytes, .* 2047/,
  ],
  ['a disk that is not there', ['--kernel', 'kernel', '--disk', 'none'], FAILURE, /none does not exist/],
  ['a disk of an odd size', ['--kernel', 'kernel', '--disk', 'mem:1000'], USAGE, /--disk mem:1000: .*multiple of 512/],
  [
    'more disks than virtio-mmio takes',
    ['--kernel', 'kernel', ...Array.from({ length: 18 }, () => ['--disk', 'mem:1M']).flat()],
    FAILURE,
    /takes 17 devices/,
  ],
];

for (const [name, args, code, what] of kernels) {
  test(`run refuses ${name}`, async (t) => {
    const cwd = folderWithKernel(t);
    writeFileSync(join(cwd, 'text'), '#!/bin/sh\n'.repeat(1000));
    writeFileSync(join(cwd, 'short'), bzImageKernel(program()).subarray(0, 1024));
    writeFileSync(join(cwd, 'empty'), '');
    writeFileSync(join(cwd, 'large'), new Uint8Array(17 << 20));
    assertRefused(await belfry(['run', ...args], { cwd }), code, what);
  });
}

const handOvers: readonly [string, args: readonly string[], RegExp][] = [
  ['nothing', [], /--hand-over is for a --disk, and there is none/],
  ['a disk of memory', ['--disk', 'mem:1M'], /mem:1M cannot be handed over/],
  ['a disk that refuses writes', ['--disk', 'image:ro'], /image cannot be handed over/],
];

for (const [name, args, what] of handOvers) {
  test(`run refuses to hand over ${name}`, async (t) => {
    const cwd = folderWithKernel(t);
    assertRefused(await belfry(['run', '--kernel', 'kernel', '--hand-over', 'sock', ...args], { cwd }), USAGE, what);
  });
}

test('run closes the disks that it opened before one that it refuses', async (t) => {
  const cwd = folderWithKernel(t);
  writeFileSync(
    join(cwd, 'disk.ts'),
    'export default { sizeBytes: 512, read() {}, close: () => console.log("closed") };',
  );
  const ended = await belfry(['run', '--kernel', 'kernel', '--disk', './disk.ts', '--disk', 'none'], { cwd });
  assert.deepEqual([ended.code, ended.stdout], [FAILURE, 'closed\n']);
  assert.match(ended.stderr, /^belfry: [^\n]*none does not exist[^\n]*\n$/);
});
