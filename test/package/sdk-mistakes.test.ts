// test/package: mistakes of a script that makes and serves a disk: one line that says what is needed, and no socket left.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BlockDevice, memory, serve } from '../../src/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-sdk-'));
const vhostUser = join(folder, 'sock');
after(() => rmSync(folder, { recursive: true }));

const disk = { sizeBytes: 65536, read() {} };
/** As a script in JavaScript calls it. */
const make = (store: unknown, options?: unknown) => new BlockDevice(store as never, options as never);
const start = (device: unknown, options?: unknown) => serve(device as never, options as never);

const mistakes: readonly [name: string, act: () => unknown, line: RegExp][] = [
  ['a size of 1000', () => make({ sizeBytes: 1000, read() {} }), /sizeBytes is 1000; .* multiple of 512/],
  ['a size as a bigint', () => make({ sizeBytes: 1024n, read() {} }), /sizeBytes is 1024n; .* is a number/],
  ['a size as text', () => make({ sizeBytes: '64M', read() {} }), /sizeBytes is "64M"; .* is a number/],
  ['no read', () => make({ sizeBytes: 1024 }), /no read\(offset, into\)/],
  ['an empty object', () => make({}), /no read\(offset, into\)/],
  ['no store', () => make(undefined), /a BlockStore is an object .*, and this is undefined/],
  ['a promise of a store', () => make(Promise.resolve(disk)), /a promise of one: await it/],
  ['a write that is none', () => make({ ...disk, write: 7 }), /write is a number; a function is wanted/],
  ['blocks of 1000 bytes', () => make(disk, { blockSize: 1000 }), /blockSize is 1000; a power of two/],
  ['a block size as text', () => make(disk, { blockSize: '512' }), /blockSize is 512; a power of two/],
  ['a long serial', () => make(disk, { serial: 'x'.repeat(50) }), /serial is .*; it has at most 20 bytes/],
  ['a serial that is a number', () => make(disk, { serial: 5 }), /serial is 5; a text is wanted/],
  ['no queue', () => make(disk, { queues: 0 }), /queues is 0; a whole number from 1 to 256/],
  ['a memory of 0', () => memory(0), /memory\(0\): .* positive multiple of 512/],
  ['a memory by name', () => memory('64M' as never), /memory\(64M\): .* positive multiple of 512/],
  ['a store to serve', () => start(disk, { vhostUser }), /this is a store: wrap it, new BlockDevice\(store\)/],
  ['nothing to serve', () => start(undefined, { vhostUser }), /a VirtioDevice is an object .* undefined/],
  ['no options', () => start(make(disk)), /the second argument says where to listen/],
  ['a slip of the pen', () => start(make(disk), { vhostuser: vhostUser }), /vhostUser is missing; the path/],
  ['an unknown option', () => start(make(disk), { vhostUser, treads: 2 }), /there is no option treads/],
  ['threads for an object', () => start(make(disk), { vhostUser, threads: 2 }), /threads is for a device on threads/],
  ['no thread', () => start('mem:1M', { vhostUser, threads: 0 }), /threads is 0; a whole number from 1 to 256/],
  ['a way to poll that is none', () => start('mem:1M', { vhostUser, poll: 'now' }), /poll is "now"; off, auto, or/],
  ['a processor by name', () => start('mem:1M', { vhostUser, cpus: ['a'] }), /cpus is \[a\]; an array of processor/],
  ['a log that is none', () => start(make(disk), { vhostUser, log: 5 }), /log is 5; a function/],
  ['a signal that is none', () => start(make(disk), { vhostUser, signal: 5 }), /signal is 5; an AbortSignal/],
];

for (const [name, act, line] of mistakes)
  test(`regression: ${name} is told in one line before a guest finds out`, () => {
    assert.throws(act, (error: Error) => line.test(error.message) && !error.message.includes('\n'));
    assert.equal(existsSync(vhostUser), false, 'a socket was left behind');
  });
