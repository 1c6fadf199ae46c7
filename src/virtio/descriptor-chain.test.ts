// Descriptor chains: how they are followed, their limits, and the clause that each invalid chain breaks.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DescriptorChain } from './descriptor-chain.ts';
import { DriverError } from './errors.ts';
import { GuestMemory } from './guest-memory.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const SIZE = 8;
const TABLE_AT = 0x8000;

type Descriptor = readonly [address: number, length: number, flags: number, next?: number];

function encode(descriptors: readonly Descriptor[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(16 * descriptors.length));
  descriptors.forEach(([address, length, flags, next = 0], i) => {
    view.setBigUint64(16 * i, BigInt(address), true);
    view.setUint32(16 * i + 8, length, true);
    view.setUint16(16 * i + 12, flags, true);
    view.setUint16(16 * i + 14, next, true);
  });
  return new Uint8Array(view.buffer);
}

interface Setting {
  readonly direct: readonly Descriptor[];
  /** The contents at TABLE_AT. */
  readonly table?: readonly Descriptor[];
  readonly head?: number;
  readonly memoryBytes?: number;
  readonly indirectOffered?: boolean;
}

function load(setting: Setting): DescriptorChain {
  const bytes = new Uint8Array(setting.memoryBytes ?? 0x1_0000);
  bytes.set(encode(setting.table ?? []), TABLE_AT);
  const table = new Uint8Array(16 * SIZE);
  table.set(encode(setting.direct));
  const chain = new DescriptorChain();
  const memory = new GuestMemory([{ guestAddress: 0, bytes }]);
  chain.load(setting.head ?? 0, new DataView(table.buffer), SIZE, memory, setting.indirectOffered ?? true);
  return chain;
}

/** Lengths of the pieces that the device may read, and of those it may write. */
function lengths({ readable, writable }: DescriptorChain): [number[], number[]] {
  return [readable.views().map(({ length }) => length), writable.views().map(({ length }) => length)];
}

suite('what a chain names', () => {
  const cases: Readonly<Record<string, Setting & { names: [number[], number[]] }>> = {
    'one descriptor': { direct: [[0, 16, 0]], names: [[16], []] },
    'readable, then writable': {
      direct: [
        [0, 16, NEXT, 1],
        [16, 8, NEXT | WRITE, 2],
        [64, 1, WRITE],
      ],
      names: [[16], [8, 1]],
    },
    'from a head in the middle, backwards through the table': {
      head: 5,
      direct: [
        [0, 3, WRITE],
        [0, 0, 0],
        [0, 2, NEXT, 0],
        [0, 0, 0],
        [0, 0, 0],
        [0, 1, NEXT, 2],
      ],
      names: [[1, 2], [3]],
    },
    'as many descriptors as the table has': {
      direct: Array.from({ length: SIZE }, (_, i): Descriptor => [i, i + 1, i + 1 < SIZE ? NEXT : 0, i + 1]),
      names: [[1, 2, 3, 4, 5, 6, 7, 8], []],
    },
    'an indirect table alone': {
      direct: [[TABLE_AT, 32, INDIRECT]],
      table: [
        [0, 16, NEXT, 1],
        [0, 1, WRITE],
      ],
      names: [[16], [1]],
    },
    'descriptors, then an indirect table': {
      direct: [
        [0, 4, NEXT, 1],
        [0, 5, NEXT, 2],
        [TABLE_AT, 16, INDIRECT],
      ],
      table: [[0, 6, WRITE]],
      names: [[4, 5], [6]],
    },
    'an indirect table that starts at an odd address': {
      direct: [[TABLE_AT + 16, 16, INDIRECT]],
      table: [
        [0, 0, 0],
        [0, 9, 0],
      ],
      names: [[9], []],
    },
    'a descriptor of no bytes, wherever it points': {
      direct: [
        [2 ** 52, 0, WRITE | NEXT, 1],
        [0, 2, 0],
      ],
      names: [[2], []],
    },
  };
  for (const [name, { names, ...setting }] of Object.entries(cases)) {
    test(name, () => {
      const chain = load(setting);
      assert.deepEqual(lengths(chain), names);
      assert.equal(chain.head, setting.head ?? 0);
    });
  }

  test('a chain object is used again, and nothing of the last request is left', () => {
    const chain = load({ direct: [[0, 16, WRITE]] });
    const table = new DataView(encode([[0, 2, 0]]).buffer);
    chain.load(0, table, 1, new GuestMemory([{ guestAddress: 0, bytes: new Uint8Array(64) }]), false);
    assert.deepEqual(lengths(chain), [[2], []]);
  });
});

suite('what a chain may not be', () => {
  const cases: Readonly<Record<string, Setting & { clause: string }>> = {
    'a head outside the table': { head: SIZE, direct: [], clause: '§2.7.5' },
    'a next outside the table': { direct: [[0, 1, NEXT, SIZE]], clause: '§2.7.5' },
    'a loop of one': { direct: [[0, 1, NEXT, 0]], clause: '§2.7.5.2' },
    'a loop of descriptors of no bytes': {
      direct: [
        [0, 0, NEXT, 1],
        [0, 0, NEXT, 0],
      ],
      clause: '§2.7.5.2',
    },
    'a loop in an indirect table': {
      direct: [[TABLE_AT, 32, INDIRECT]],
      table: [
        [0, 1, NEXT, 1],
        [0, 1, NEXT, 0],
      ],
      clause: '§2.7.5.2',
    },
    'memory that is not the driver’s': { direct: [[0x1_0000, 1, 0]], clause: '§2.7.5' },
    'memory that runs out': { direct: [[0xffff, 2, 0]], clause: '§2.7.5' },
    'an address of 64 bits': { direct: [[2 ** 63, 1, 0]], clause: '§2.7.5' },
    'readable after writable': {
      direct: [
        [0, 1, WRITE | NEXT, 1],
        [0, 1, 0],
      ],
      clause: '§2.7.4.2',
    },
    'an indirect table that was not negotiated': {
      direct: [[TABLE_AT, 16, INDIRECT]],
      indirectOffered: false,
      clause: '§2.7.5.3.1',
    },
    'an indirect table in an indirect table': {
      direct: [[TABLE_AT, 16, INDIRECT]],
      table: [[TABLE_AT, 16, INDIRECT]],
      clause: '§2.7.5.3.1',
    },
    'INDIRECT and NEXT': { direct: [[TABLE_AT, 16, INDIRECT | NEXT, 1]], clause: '§2.7.5.3.1' },
    'an indirect table of no bytes': { direct: [[TABLE_AT, 0, INDIRECT]], clause: '§2.7.5.3' },
    'an indirect table of half a descriptor': { direct: [[TABLE_AT, 8, INDIRECT]], clause: '§2.7.5.3' },
    'an indirect table of one and a half': { direct: [[TABLE_AT, 24, INDIRECT]], clause: '§2.7.5.3' },
    'an indirect table outside memory': { direct: [[0xfff8, 16, INDIRECT]], clause: '§2.7.5' },
    'an indirect table of 4 GiB': { direct: [[0, 0xffff_fff0, INDIRECT]], clause: '§2.7.5' },
    'a next outside the indirect table': {
      direct: [[TABLE_AT, 16, INDIRECT]],
      table: [[0, 1, NEXT, 1]],
      clause: '§2.7.5',
    },
  };
  for (const [name, { clause, ...setting }] of Object.entries(cases)) {
    test(`${name} breaks ${clause}`, () => {
      assert.throws(
        () => load(setting),
        (error) => error instanceof DriverError && error.clause === clause && error.message.includes(clause),
      );
    });
  }
});

suite('how long a chain may be', () => {
  /** An indirect table of `count` descriptors of `length` bytes each. */
  const long = (count: number, length: number, memoryBytes?: number): Setting => ({
    direct: [[TABLE_AT, 16 * count, INDIRECT]],
    table: Array.from({ length: count }, (_, i): Descriptor => [0, length, i + 1 < count ? NEXT : 0, i + 1]),
    ...(memoryBytes !== undefined && { memoryBytes }),
  });

  test('an indirect table may hold 1024 descriptors, more than the queue has', () => {
    assert.equal(load(long(1024, 1)).readable.totalBytes, 1024);
  });

  test('an indirect table of more descriptors is followed no further than 1024', () => {
    assert.throws(() => load(long(1025, 1)), /endless, or longer than 1024/);
    const roomy = long(1024, 1);
    assert.equal(load({ ...roomy, direct: [[TABLE_AT, 16 * 1500, INDIRECT]] }).readable.count, 1024);
  });

  test('§2.7.5.2 a chain may be 2^32 bytes long, and not a byte longer', () => {
    const MIB = 1 << 20;
    assert.equal(load(long(1024, 4 * MIB, 4 * MIB)).readable.totalBytes, 2 ** 32);
    const setting = long(1024, 4 * MIB, 4 * MIB);
    assert.throws(
      () =>
        load({
          ...setting,
          direct: [
            [0, 1, NEXT, 1],
            [TABLE_AT, 16 * 1024, INDIRECT],
          ],
        }),
      (error) => error instanceof DriverError && error.clause === '§2.7.5.2',
    );
  });
});

test('regression: an indirect table may lie in two regions that adjoin no more than a ring may; data may', () => {
  const regions = [0, 0x1000].map((guestAddress) => ({ guestAddress, bytes: new Uint8Array(0x1000) }));
  const memory = new GuestMemory(regions);
  const chain = new DescriptorChain();
  const load = (address: number, length: number, flags: number): void => {
    const table = new Uint8Array(16 * SIZE);
    table.set(encode([[address, length, flags]]));
    chain.load(0, new DataView(table.buffer), SIZE, memory, true);
  };
  load(0xff8, 16, 0);
  assert.equal(chain.readable.totalBytes, 16);
  assert.throws(() => load(0xff8, 16, INDIRECT), /16 bytes at 0xff8 run out of the driver's memory/);
});
