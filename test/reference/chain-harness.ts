// One chain at a time from our driver side to our device side; every byte of memory and disk is held against the model.
import assert from 'node:assert/strict';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { DriverError } from '../../src/virtio/errors.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import type { RunnableQueue } from '../../src/virtio/ring-format.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';
import { arrayStore, pattern } from './array-store.ts';
import { expectRequest, type ModelDisk } from './block-model.ts';

export interface Piece {
  readonly length: number;
  readonly writable: boolean;
}

export interface HarnessOptions {
  readonly features: bigint;
  readonly readOnly?: boolean;
  /** Pieces in a chain, at most, and bytes in each. */
  readonly pieces: number;
  readonly pieceBytes: number;
}

const SIZE = 8;
const DISK_SECTORS = 8;
const SERIAL = 'twenty bytes of name';
/** Left between pieces, and looked at like everything else. */
const GAP = 5;

export class ChainHarness {
  readonly #options: HarnessOptions;
  readonly #memory: DriverMemory;
  readonly #guest: GuestMemory;
  readonly #device: BlockDevice;
  readonly #disk: Uint8Array;
  readonly #model: ModelDisk;
  readonly #pristine = pattern(DISK_SECTORS * 512);
  readonly #expected: Uint8Array;
  readonly #usedWords: DataView;
  #ring: DriverQueue;
  #queue: RunnableQueue;
  #buffers: readonly number[];
  #calls = 0;

  constructor(options: HarnessOptions) {
    this.#options = options;
    const bytes = 2048 + options.pieces * 2 * (options.pieceBytes + GAP);
    this.#memory = new DriverMemory(new Uint8Array(bytes), 0x1000);
    this.#expected = new Uint8Array(bytes);
    this.#guest = new GuestMemory([this.#memory]);
    const store = arrayStore(this.#pristine.slice());
    this.#disk = store.bytes;
    const { write: _, ...readOnly } = store;
    this.#device = new BlockDevice(options.readOnly === true ? readOnly : store, { serial: SERIAL });
    this.#model = { bytes: this.#pristine.slice(), readOnly: options.readOnly === true, serial: SERIAL };
    this.#ring = this.#newRing(this.#memory);
    this.#queue = this.#newQueue();
    this.#buffers = Array.from(
      { length: options.pieces },
      () => this.#memory.allocate(options.pieceBytes + GAP) + (GAP >> 1),
    );
    const { deviceArea } = this.#ring.addresses;
    this.#usedWords = new DataView(this.#expected.buffer, deviceArea - this.#memory.guestAddress);
  }

  #newRing(memory: DriverMemory): DriverQueue {
    return new DriverQueue(memory, { size: SIZE, features: this.#options.features, indirectMax: this.#options.pieces });
  }

  #newQueue(): RunnableQueue {
    const { features } = this.#options;
    const options = {
      features,
      notify: () => this.#calls++,
      again: () => assert.fail('a turn of one request is over before it'),
    };
    return splitFormat.open(SIZE, this.#ring.layout, this.#guest, options);
  }

  /** Sends one chain. `stream` is what the device may read, at least as long as the readable pieces. */
  check(pieces: readonly Piece[], indirectFrom: number, stream: Uint8Array): 'served' | 'refused' {
    const { bytes, guestAddress } = this.#memory;
    let at = 0;
    const buffers = pieces.map(({ length, writable }, i) => {
      const address = this.#buffers[i] as number;
      const from = address - guestAddress;
      if (writable) bytes.fill(0xee, from, from + length);
      else {
        bytes.set(stream.subarray(at, at + length), from);
        at += length;
      }
      return { address, length, writable };
    });
    const head = this.#ring.add(buffers, indirectFrom);
    this.#ring.publish();
    this.#expected.set(bytes);
    const refused = this.#process();
    assert.equal(refused, isOutOfOrder(pieces), 'refused');
    if (refused) this.#expectNothing();
    else this.#expectServed(buffers, head, stream.subarray(0, at));
    const chain = (): string =>
      `${JSON.stringify(pieces)} indirect from ${indirectFrom}, header ${stream.subarray(0, 16)}`;
    sameBytes('memory', bytes, this.#expected, chain);
    sameBytes('disk', this.#disk, this.#model.bytes, chain);
    if (refused) this.#reset();
    else this.#harvest(head);
    return refused ? 'refused' : 'served';
  }

  #process(): boolean {
    try {
      const { base } = this.#queue;
      this.#device.process(0, this.#queue);
      assert.equal(this.#queue.base, (base + 1) & 0xffff);
      return false;
    } catch (error) {
      assert.ok(error instanceof DriverError, String(error));
      assert.equal(error.clause, '§2.7.4.2');
      return true;
    }
  }

  #expectNothing(): void {
    // A queue that stopped asks for no more kicks.
    if ((this.#options.features & VIRTIO_F_EVENT_IDX) === 0n) this.#usedWords.setUint16(0, 1, true);
  }

  #expectServed(buffers: readonly (Piece & { address: number })[], head: number, readable: Uint8Array): void {
    const writable = buffers.filter((piece) => piece.writable);
    const writableBytes = writable.reduce((sum, { length }) => sum + length, 0);
    const { usedLength, data, status } = expectRequest(this.#model, readable, writableBytes);
    let streamAt = 0;
    for (const { address, length } of writable) {
      const at = address - this.#memory.guestAddress;
      this.#expected.set(data.subarray(streamAt, streamAt + length), at);
      streamAt += length;
      if (status !== undefined && length > 0 && streamAt === writableBytes) this.#expected[at + length - 1] = status;
    }
    const index = this.#ring.usedIndex;
    const element = 4 + 8 * (index % SIZE);
    this.#usedWords.setUint16(2, index + 1, true);
    this.#usedWords.setUint32(element, head, true);
    this.#usedWords.setUint32(element + 4, usedLength, true);
    const eventIdx = (this.#options.features & VIRTIO_F_EVENT_IDX) !== 0n;
    if (eventIdx) this.#usedWords.setUint16(4 + 8 * SIZE, index + 1, true);
  }

  #harvest(head: number): void {
    const heads: number[] = [];
    this.#ring.harvest((used) => heads.push(used));
    assert.deepEqual(heads, [head]);
    assert.equal(this.#calls, 1, 'notifications');
    this.#calls = 0;
    this.#ring.requestCalls();
    if (this.#dirty()) {
      this.#disk.set(this.#pristine);
      this.#model.bytes.set(this.#pristine);
    }
  }

  #dirty(): boolean {
    return Buffer.compare(this.#disk, this.#pristine) !== 0;
  }

  #reset(): void {
    // The new ring is at the addresses of the old one.
    this.#ring = this.#newRing(new DriverMemory(this.#memory.bytes, this.#memory.guestAddress));
    this.#queue = this.#newQueue();
  }
}

function sameBytes(what: string, actual: Uint8Array, expected: Uint8Array, chain: () => string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  assert.fail(`${what}[${at}] is ${actual[at]} and should be ${expected[at]} after ${chain()}`);
}

/** A device-readable piece after device-writable bytes. */
function isOutOfOrder(pieces: readonly Piece[]): boolean {
  const firstWritable = pieces.findIndex(({ length, writable }) => writable && length > 0);
  return firstWritable >= 0 && pieces.some(({ writable }, i) => i > firstWritable && !writable);
}
