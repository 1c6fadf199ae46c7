// test/fuzz: changes each word of guest memory right after the device has read it, to detect a word that is read twice.
import type { SeededRandom } from '../../src/testing/seeded-random.ts';
import type { GuestImage } from './guest-image.ts';
import type { SpiedQueue } from './spied-queue.ts';

type Watcher = (view: DataView, offset: number, word: number) => void;

let watcher: Watcher | undefined;

const { getUint32 } = DataView.prototype;
// Put in place once: a method that comes and goes would cost every caller its compiled code.
DataView.prototype.getUint32 = function (this: DataView, offset: number, littleEndian?: boolean): number {
  const word = getUint32.call(this, offset, littleEndian);
  if (watcher !== undefined) watcher(this, offset, word);
  return word;
};

/** Until disposed, each word read by DataView changes right afterwards; the queue's `wordsRead` keeps what was read. */
export function watchWords(image: GuestImage, current: () => SpiedQueue, random: SeededRandom): Disposable {
  watcher = (view, offset, word) => {
    const queue = current();
    const address = addressOf(image, view, offset);
    // Heads are read with no DataView: there is no telling what they were.
    if (address === undefined || queue.isHead(address)) return;
    const words = queue.wordsRead.get(address);
    if (words === undefined) queue.wordsRead.set(address, [word]);
    else words.push(word);
    const changed = random.uint32();
    image.write(address, Uint8Array.of(changed, changed >>> 8, changed >>> 16, changed >>> 24));
  };
  return {
    [Symbol.dispose]() {
      watcher = undefined;
    },
  };
}

/** The guest address of a place in a view; undefined when it is no guest memory. */
function addressOf(image: GuestImage, view: DataView, offset: number): number | undefined {
  const region = image.regions.find(({ bytes }) => bytes.buffer === view.buffer);
  return region && region.address + view.byteOffset + offset - region.bytes.byteOffset;
}
