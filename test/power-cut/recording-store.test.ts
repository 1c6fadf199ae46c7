// test/power-cut: the store that records is a store like any other, and what it records is what happened.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BlockStore, memory } from '../../src/index.ts';
import { storeConformance } from '../../src/testing/store-conformance.ts';
import { imageStore, PagedImage } from './paged-image.ts';
import { Recording } from './recording.ts';
import { recordingStore } from './recording-store.ts';

const SIZE_BYTES = 256 * 1024;
const MEMBERS = ['write', 'flush', 'discard', 'writeZeroes'] as const;
const RECORDED = ['writev', ...MEMBERS] as const;

function openImage(): BlockStore {
  const base = new PagedImage(SIZE_BYTES);
  const image = new PagedImage(SIZE_BYTES, base);
  return imageStore(SIZE_BYTES, () => image);
}

storeConformance('an image in pages', { open: openImage, members: MEMBERS });
storeConformance('a recorded image', { open: () => recordingStore(new Recording())(openImage()), members: RECORDED });
storeConformance('a recorded memory', {
  open: () => recordingStore(new Recording())(memory(SIZE_BYTES)),
  members: [...RECORDED, 'refreshSize', 'close'],
});

test('a request ends when the store below has done it; one that fails never does', async () => {
  const recording = new Recording();
  const slow = Promise.withResolvers<void>();
  const store = recordingStore(recording)({
    sizeBytes: 4096,
    read: () => {},
    write: (offset) => (offset === 0 ? slow.promise : Promise.reject(new Error('no power'))),
    flush: () => {
      throw new Error('no power');
    },
  });
  const content = new Uint8Array(512).fill(1);
  const written = store.write?.(0, content);
  content.fill(2);
  await assert.rejects(async () => store.write?.(512, content), /no power/);
  assert.throws(() => store.flush?.(), /no power/);
  recording.mark('later');
  slow.resolve();
  await written;
  const [first, second] = recording.changes;
  assert.equal(first?.kind === 'write' && first.bytes[0], 1, 'the bytes at the begin');
  assert.deepEqual([first?.begun, first?.ended], [0, 4]);
  assert.deepEqual([second?.ended, recording.flushes[0]?.ended], [Infinity, Infinity]);
  assert.equal(recording.eventOf('later'), 3);
  assert.throws(() => recording.eventOf('never'), /no mark "never"/);
});

test('a request in pieces is one write', () => {
  const recording = new Recording();
  const store = recordingStore(recording)(openImage());
  store.writev?.(512, [new Uint8Array(100).fill(1), new Uint8Array(412).fill(2)]);
  assert.equal(recording.changes.length, 1);
  const into = new Uint8Array(512);
  store.read(512, into);
  assert.deepEqual([into[0], into[99], into[100], into[511]], [1, 1, 2, 2]);
});

test('an image leaves the one below as it is, and stores only what it holds', () => {
  const base = new PagedImage(16384);
  base.write(100, new Uint8Array(5000).fill(1));
  const image = new PagedImage(16384, base);
  image.zero(0, 4096);
  image.write(8192, new Uint8Array([7]));
  const read = (from: PagedImage, offset: number): number => {
    const into = new Uint8Array(1);
    from.read(offset, into);
    return into[0] as number;
  };
  assert.deepEqual([read(base, 100), read(base, 8192)], [1, 0]);
  assert.deepEqual([read(image, 100), read(image, 4096), read(image, 8192)], [0, 1, 7]);
  assert.deepEqual([...image.content()].map(([offset]) => offset).sort(), [4096, 8192]);
  image.write(10, new Uint8Array([3]));
  assert.deepEqual([read(image, 10), read(image, 11), read(base, 10)], [3, 0, 0]);
});
