// bench: the command lines of the back ends: each accesses the image as the case says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENGINES, enginesFor, ourCommand, storageDaemonCommand } from './back-end-commands.ts';

const data = { folder: '/f', disk: '/f/a,b.img', queues: 2 };
const words = (command: readonly string[]): string => command.join(' ');

test('qemu-storage-daemon accesses the image as the case says, and as the engine needs where it does not say', () => {
  for (const [engine, cache, direct] of [
    ['threads', 'direct', 'on'],
    ['io_uring', 'cached', 'off'],
    ['native', 'direct', 'on'],
    ['native', undefined, 'on'],
    ['threads', undefined, 'off'],
  ] as const) {
    const { command, name } = storageDaemonCommand({ ...data, cache }, engine);
    assert.equal(name, `qsd ${engine}`);
    assert.match(
      words(command),
      new RegExp(`filename=/f/a,,b\\.img,aio=${engine},cache\\.direct=${direct},read-only=off`),
    );
  }
  assert.match(
    words(storageDaemonCommand({ ...data, readOnly: true }, 'threads').command),
    /read-only=on.*writable=off/,
  );
});

test('native takes O_DIRECT: it is no peer of a cached case', () => {
  assert.deepEqual(enginesFor(ENGINES, 'cached'), ['threads', 'io_uring']);
  assert.deepEqual(enginesFor(ENGINES, 'direct'), ENGINES);
  assert.deepEqual(enginesFor(['native'], undefined), ['native']);
});

test('belfry serve accesses the image as the case says; two of them have sockets of their own', () => {
  const ours = ourCommand({ ...data, cache: 'direct', readOnly: true }, false, ['--engine', 'uring']);
  assert.match(words(ours.command), /serve blk \/f\/a,b\.img .* --direct --read-only --engine uring$/);
  const other = ourCommand({ ...data, cache: 'cached' }, true, [], 'other belfry');
  assert.doesNotMatch(words(other.command), /--direct|--read-only/);
  assert.deepEqual([ours.socket, other.socket], ['/f/belfry.sock', '/f/other-belfry.sock']);
});
