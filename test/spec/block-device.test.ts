// §5.2 Block Device, clause by clause: what is offered, what a request gives, and when a write is stable.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { RANGE_SECTORS_MAX } from '../../src/devices/blk/block-config.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import * as blk from '../../src/devices/blk/spec.ts';
import { BlockLoopback } from '../../src/testing/block-loopback.ts';
import { type BlockRequest, blockRequest } from '../../src/testing/block-request.ts';
import { VIRTIO_ID_BLOCK } from '../../src/virtio/spec.ts';
import { type ArrayStore, arrayStore, pattern } from '../reference/array-store.ts';

const SECTORS = 64;
const SIZE = SECTORS * 512;
const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IOERR, VIRTIO_BLK_S_UNSUPP: UNSUPP, CONFIG } = blk;

/** A store that writes down what it is asked, in words. */
function spied(store: BlockStore = arrayStore(pattern(SIZE))): { store: BlockStore; asked: string[] } {
  const asked: string[] = [];
  const spy = new Proxy(store, {
    get(target, name: keyof BlockStore) {
      const member = target[name];
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        asked.push([name, ...args.filter((arg) => typeof arg !== 'object')].join(' '));
        return Reflect.apply(member, target, args);
      };
    },
  });
  return { store: spy, asked };
}

function without<K extends keyof BlockStore>(store: ArrayStore, ...names: K[]): BlockStore {
  return Object.fromEntries(
    Object.entries(store).filter(([name]) => !names.includes(name as K)),
  ) as unknown as BlockStore;
}

const config = (device: BlockDevice): DataView =>
  new DataView(device.config.bytes.buffer, device.config.bytes.byteOffset);
const offers = ({ features }: BlockDevice, bit: bigint): boolean => (features & bit) !== 0n;

async function statusOf(store: BlockStore, request: BlockRequest, features?: bigint): Promise<number> {
  const { status, usedLength } = await new BlockLoopback(store, features === undefined ? {} : { features }).request(
    request,
  );
  assert.equal(usedLength, 1 + (status === OK ? request.inBytes : 0));
  return status;
}

suite('§5.2.3 features and §5.2.4 configuration', () => {
  test('§5.2.1 the device ID is 2', () => {
    assert.equal(new BlockDevice(arrayStore(pattern(SIZE))).type, 2);
    assert.equal(VIRTIO_ID_BLOCK, 2);
  });

  test('§5.2.3 what the store can do is what is offered', () => {
    const all = arrayStore(pattern(SIZE));
    const always = blk.VIRTIO_BLK_F_SIZE_MAX | blk.VIRTIO_BLK_F_SEG_MAX | blk.VIRTIO_BLK_F_BLK_SIZE;
    const base = always | blk.VIRTIO_BLK_F_TOPOLOGY | blk.VIRTIO_BLK_F_MQ | blk.VIRTIO_BLK_F_FLUSH;
    const { VIRTIO_BLK_F_CONFIG_WCE: wce, VIRTIO_BLK_F_DISCARD: discard, VIRTIO_BLK_F_WRITE_ZEROES: zeroes } = blk;
    for (const [store, features] of [
      [all, base | wce | discard | zeroes],
      [without(all, 'discard'), base | wce | zeroes],
      [without(all, 'writeZeroes'), base | wce | discard],
      [without(all, 'flush'), base | discard | zeroes],
      [without(all, 'write'), base | blk.VIRTIO_BLK_F_RO],
    ] as const)
      assert.equal(new BlockDevice(store).features, features);
  });

  test('§5.2.4 the capacity is in sectors of 512 bytes, whatever blk_size says', () => {
    const sizeBytes = 2 ** 45;
    const device = new BlockDevice({ sizeBytes, read() {} }, { blockSize: 4096 });
    assert.equal(config(device).getBigUint64(CONFIG.capacity, true), 2n ** 36n);
    assert.equal(config(device).getUint32(CONFIG.blk_size, true), 4096);
  });

  test('§5.2.4 every field of the configuration space is at its offset in the structure', () => {
    const store = { ...arrayStore(pattern(SIZE)), physicalBlockBytes: 4096 };
    const view = config(new BlockDevice(store, { queues: 5 }));
    assert.deepEqual(
      {
        capacity: view.getBigUint64(0, true),
        size_max: view.getUint32(8, true),
        seg_max: view.getUint32(12, true),
        geometry: view.getUint32(16, true),
        blk_size: view.getUint32(20, true),
        physical_block_exp: view.getUint8(24),
        alignment_offset: view.getUint8(25),
        min_io_size: view.getUint16(26, true),
        opt_io_size: view.getUint32(28, true),
        writeback: view.getUint8(32),
        num_queues: view.getUint16(34, true),
        max_discard_sectors: view.getUint32(36, true),
        max_discard_seg: view.getUint32(40, true),
        discard_sector_alignment: view.getUint32(44, true),
        max_write_zeroes_sectors: view.getUint32(48, true),
        max_write_zeroes_seg: view.getUint32(52, true),
        write_zeroes_may_unmap: view.getUint8(56),
      },
      {
        capacity: BigInt(SECTORS),
        size_max: 1 << 20,
        seg_max: 126,
        geometry: 0,
        blk_size: 512,
        physical_block_exp: 3,
        alignment_offset: 0,
        min_io_size: 8,
        opt_io_size: 0,
        writeback: 1,
        num_queues: 5,
        max_discard_sectors: RANGE_SECTORS_MAX,
        max_discard_seg: 1,
        discard_sector_alignment: 8,
        max_write_zeroes_sectors: RANGE_SECTORS_MAX,
        max_write_zeroes_seg: 1,
        write_zeroes_may_unmap: 1,
      },
    );
  });

  test('regression: seg_max leaves room for header and status in a ring of 128, and size_max is in bytes', () => {
    const view = config(new BlockDevice(arrayStore(pattern(SIZE))));
    assert.ok(view.getUint32(CONFIG.seg_max, true) + 2 <= 128);
    assert.ok(view.getUint32(CONFIG.size_max, true) >= 65_536);
  });

  test('§5.2.5.2 FLUSH is always offered', () => {
    const all = arrayStore(pattern(SIZE));
    for (const store of [all, without(all, 'flush'), without(all, 'write'), without(all, 'write', 'flush')])
      assert.ok(offers(new BlockDevice(store), blk.VIRTIO_BLK_F_FLUSH));
  });

  test('§5.2.5.2 without FLUSH negotiated, writeback is 0', () => {
    const loop = new BlockLoopback(arrayStore(pattern(SIZE)), { features: blk.VIRTIO_BLK_F_CONFIG_WCE });
    const { bytes } = loop.device.config;
    assert.equal(bytes[CONFIG.writeback], 0);
    loop.start(blk.VIRTIO_BLK_F_CONFIG_WCE | blk.VIRTIO_BLK_F_FLUSH);
    assert.equal(bytes[CONFIG.writeback], 1);
  });

  test('§5.2.5.2 padding is 0, and so is what follows the last field that is offered', () => {
    const { bytes } = new BlockDevice(arrayStore(pattern(SIZE))).config;
    assert.equal(bytes[33], 0);
    assert.deepEqual([...bytes.subarray(57)], [0, 0, 0]);
  });

  test('§5.2.5.2 a device that is not zoned does not offer ZONED, nor features that it does not implement', () => {
    const { features } = new BlockDevice(arrayStore(pattern(SIZE)));
    for (const bit of [15n, 16n, 17n]) assert.equal(features & (1n << bit), 0n);
  });

  test('§5.2.6.2 write_zeroes_may_unmap is clear when no room can be given back', () => {
    const store = without(arrayStore(pattern(SIZE)), 'discard');
    assert.equal(new BlockDevice(store).config.bytes[CONFIG.write_zeroes_may_unmap], 0);
  });

  test('§5.2.6.2 the driver is notified of a changed capacity', () => {
    const loop = new BlockLoopback(arrayStore(pattern(SIZE)));
    loop.device.resize(2 * SIZE);
    assert.equal(loop.configChanges, 1);
    assert.equal(config(loop.device).getBigUint64(0, true), BigInt(2 * SECTORS));
  });
});

suite('§5.2.6 requests', () => {
  test('§5.2.6 a read populates data with the sectors it names, a write stores them', async () => {
    const bytes = pattern(SIZE);
    const loop = new BlockLoopback(arrayStore(bytes));
    const { data } = await loop.request(blockRequest.read(7, 2048));
    assert.deepEqual(data, bytes.slice(7 * 512, 7 * 512 + 2048));
    const out = pattern(1024, 5);
    await loop.request(blockRequest.write(62, out));
    assert.deepEqual(bytes.slice(62 * 512), out);
  });

  test('§5.2.6 the reserved word of a header is ignored', async () => {
    const store = arrayStore(pattern(SIZE));
    const loop = new BlockLoopback(store);
    const head = loop.driver.add(blockRequest.read(1, 512));
    const header = loop.driver.queue.descriptors[4 * head] as number;
    loop.memory.slice(header + 4, 4).fill(0xff);
    loop.kick([]);
    assert.equal(loop.driver.harvest()[0]?.status, OK);
  });

  test('regression: GET_ID reports its 20 bytes and the status byte', async () => {
    const loop = new BlockLoopback(arrayStore(pattern(SIZE)), { device: { serial: 'belfry-1' } });
    const { status, usedLength, data } = await loop.request(blockRequest.getId());
    assert.deepEqual([status, usedLength], [OK, 21]);
    assert.equal(new TextDecoder().decode(data), 'belfry-1'.padEnd(20, '\0'));
  });

  test('§5.2.6 GET_ID with room for less or more than 20 bytes fills what there is', async () => {
    const loop = new BlockLoopback(arrayStore(pattern(SIZE)), { device: { serial: 'abcdefghijklmnopqrst' } });
    for (const [inBytes, usedLength] of [
      [0, 1],
      [5, 6],
      [64, 21],
    ] as const) {
      const result = await loop.request({ ...blockRequest.getId(), inBytes });
      assert.deepEqual([result.status, result.usedLength], [OK, usedLength]);
    }
  });

  test('§5.2.6 what the device does not know is UNSUPP', async () => {
    const unknown = [2, 3, 5, 10, 14, 15, 16, 18, 20, 22, 24, 26, 27, 0x8000_0000, 0xffff_ffff];
    for (const type of unknown) {
      const { store, asked } = spied();
      assert.equal(await statusOf(store, { ...blockRequest.flush(), type }), UNSUPP, `${type}`);
      assert.deepEqual(asked, []);
    }
  });

  test('regression: the used length of a failed read is 1, the status byte', async () => {
    const store = {
      sizeBytes: SIZE,
      read() {
        throw new Error('no luck');
      },
    };
    for (const request of [blockRequest.read(0, 4096), blockRequest.read(SECTORS, 512)]) {
      const { status, usedLength } = await new BlockLoopback(store).request(request);
      assert.deepEqual([status, usedLength], [IOERR, 1]);
    }
  });

  test('regression: a range past the end is IOERR, and the store is not asked', async () => {
    for (const request of [
      blockRequest.read(SECTORS - 1, 1024),
      blockRequest.write(SECTORS, new Uint8Array(512)),
      blockRequest.discard({ sector: SECTORS - 1, sectors: 2 }),
      blockRequest.writeZeroes({ sector: 2 ** 60, sectors: 1 }),
      blockRequest.writeZeroes({ sector: 1, sectors: 0xffff_ffff }),
    ]) {
      const { store, asked } = spied();
      assert.equal(await statusOf(store, request), IOERR);
      assert.deepEqual(asked, []);
    }
  });
});

suite('§5.2.6 requests that are none', () => {
  const store = arrayStore(pattern(SIZE));

  /** Puts a chain of raw pieces between two good reads, and gives what came back for each. */
  function between(lengths: readonly [number, boolean][]): { results: [number, number][]; memory: Uint8Array } {
    const loop = new BlockLoopback(store);
    const { queue } = loop.driver;
    loop.driver.add(blockRequest.read(0, 512));
    const address = loop.memory.allocate(4096);
    loop.memory.slice(address, 4096).fill(0xee);
    queue.add(lengths.map(([length, writable], i) => ({ address: address + 512 * i, length, writable })));
    loop.driver.add(blockRequest.read(1, 512));
    queue.publish();
    loop.kick([]);
    const results: [number, number][] = [];
    queue.harvest((head, usedLength) => results.push([head, usedLength]));
    return { results, memory: loop.memory.slice(address, 4096) };
  }

  const chains = {
    'a chain of no bytes': [[0, true]],
    'an empty readable descriptor': [[0, false]],
    'readable bytes and nothing to write a status to': [[16, false]],
    'a write whose status byte is missing': [
      [16, false],
      [512, false],
    ],
  } as const;
  for (const [name, pieces] of Object.entries(chains)) {
    test(`regression: ${name} completes once, with nothing written, and its neighbours are served`, () => {
      const { results, memory } = between(pieces.map(([length, writable]) => [length, writable]));
      assert.deepEqual(
        results.map(([, usedLength]) => usedLength),
        [513, 0, 513],
      );
      assert.equal(new Set(results.map(([head]) => head)).size, 3);
      assert.ok(memory.every((byte) => byte === 0xee));
    });
  }

  test('regression: a chain too short for a header is IOERR in its last byte, and its neighbours are served', () => {
    for (const pieces of [
      [[1, true]],
      [
        [15, false],
        [513, true],
      ],
    ] as [number, boolean][][]) {
      const { results, memory } = between(pieces);
      assert.deepEqual(
        results.map(([, usedLength]) => usedLength),
        [513, 1, 513],
      );
      const last = 512 * (pieces.length - 1) + (pieces.at(-1)?.[0] ?? 0) - 1;
      memory.forEach((byte, at) => {
        assert.equal(byte, at === last ? IOERR : 0xee, `byte ${at}`);
      });
    }
  });
});

suite('§5.2.6.2 read-only disks', () => {
  test('§5.2.6.2 every request that writes is IOERR, and nothing is written', async () => {
    const bytes = pattern(SIZE);
    const before = bytes.slice();
    const store = without(arrayStore(bytes), 'write');
    for (const request of [
      blockRequest.write(0, new Uint8Array(512)),
      blockRequest.discard({ sector: 0, sectors: 8 }),
      blockRequest.writeZeroes({ sector: 0, sectors: 8 }),
    ])
      assert.equal(await statusOf(store, request), IOERR);
    assert.deepEqual(bytes, before);
    assert.equal(await statusOf(store, blockRequest.flush()), OK);
    assert.equal(await statusOf(store, blockRequest.read(0, 512)), OK);
  });
});

suite('§5.2.6.2 DISCARD and WRITE_ZEROES', () => {
  const range = { sector: 8, sectors: 4 };

  test('the range of a request reaches the store, in bytes', async () => {
    const { store, asked } = spied();
    assert.equal(await statusOf(store, blockRequest.writeZeroes(range)), OK);
    assert.equal(await statusOf(store, blockRequest.writeZeroes({ sector: 60, sectors: 4, flags: 1 })), OK);
    assert.equal(await statusOf(store, blockRequest.discard(range)), OK);
    assert.equal(await statusOf(store, blockRequest.discard({ sector: 60, sectors: 0 })), OK);
    assert.deepEqual(asked, ['writeZeroes 4096 2048 false', 'writeZeroes 30720 2048 true', 'discard 4096 2048']);
  });

  test('regression: more ranges than were offered are UNSUPP, as QEMU has it, and nothing is touched', async () => {
    const { store, asked } = spied();
    const config = new DataView(new BlockDevice(store).config.bytes.buffer);
    for (const field of ['max_discard_seg', 'max_write_zeroes_seg'] as const)
      assert.equal(config.getUint32(CONFIG[field], true), 1);
    for (const request of [blockRequest.discard(range, range), blockRequest.writeZeroes(range, range)])
      assert.equal(await statusOf(store, request), UNSUPP);
    assert.deepEqual(asked, []);
  });

  test('§5.2.6.2 reads of zeroed sectors return zeroes, with unmap or without', async () => {
    for (const flags of [0, 1]) {
      const loop = new BlockLoopback(arrayStore(pattern(SIZE)));
      await loop.request(blockRequest.writeZeroes({ ...range, flags }));
      const { data } = await loop.request(blockRequest.read(7, 6 * 512));
      const isZero = Array.from({ length: 6 }, (_, i) => data.subarray(i * 512, i * 512 + 512).every((b) => b === 0));
      assert.deepEqual(isZero, [false, true, true, true, true, false]);
    }
  });

  for (const [name, request] of [
    ['an unknown flag of a discard', blockRequest.discard({ ...range, flags: 2 })],
    ['unmap of a discard', blockRequest.discard({ ...range, flags: 1 })],
    ['an unknown flag of a write zeroes', blockRequest.writeZeroes({ ...range, flags: 0x8000_0000 })],
  ] as const) {
    test(`§5.2.6.2 ${name} makes the request UNSUPP, and nothing is touched`, async () => {
      const { store, asked } = spied();
      assert.equal(await statusOf(store, request), UNSUPP);
      assert.deepEqual(asked, []);
    });
  }

  test('regression: an unknown flag makes the request UNSUPP also where the range is past the end', async () => {
    const request = blockRequest.writeZeroes({ sector: SECTORS, sectors: 1, flags: 2 });
    assert.equal(await statusOf(arrayStore(pattern(SIZE)), request), UNSUPP);
  });

  test('§5.2.6.1 data that are no whole range, or none, are IOERR', async () => {
    const one = blockRequest.discard(range);
    for (const request of [
      blockRequest.discard(),
      { ...one, out: one.out.subarray(0, 15) },
      { ...one, out: Uint8Array.of(...one.out, 0) },
    ])
      assert.equal(await statusOf(arrayStore(pattern(SIZE)), request), IOERR);
  });

  test('a range of more sectors than was offered is IOERR', async () => {
    const sizeBytes = 2 ** 40;
    const store = { ...arrayStore(pattern(SIZE)), sizeBytes, discard() {} };
    for (const [sectors, status] of [
      [RANGE_SECTORS_MAX, OK],
      [RANGE_SECTORS_MAX + 1, IOERR],
    ] as const)
      assert.equal(await statusOf(store, blockRequest.discard({ sector: 0, sectors })), status);
  });

  test('what the store cannot do is UNSUPP', async () => {
    const store = without(arrayStore(pattern(SIZE)), 'discard', 'writeZeroes');
    assert.equal(await statusOf(store, blockRequest.discard(range)), UNSUPP);
    assert.equal(await statusOf(store, blockRequest.writeZeroes(range)), UNSUPP);
  });
});

suite('§5.2.6.2 stable writes', () => {
  const write = blockRequest.write(0, new Uint8Array(512));
  const { VIRTIO_BLK_F_FLUSH: FLUSH, VIRTIO_BLK_F_CONFIG_WCE: WCE } = blk;

  /** What the store is asked for a write with these features accepted, and this put into `writeback` first. */
  async function askedFor(features: bigint, writeback?: number, request = write): Promise<string[]> {
    const { store, asked } = spied();
    const loop = new BlockLoopback(store, { features });
    if (writeback !== undefined)
      assert.equal(loop.device.config.write?.(CONFIG.writeback, Uint8Array.of(writeback)), true);
    assert.equal((await loop.request(request)).status, OK);
    return asked;
  }

  test('§5.2.6.2 without FLUSH and CONFIG_WCE, a write is committed before it completes', async () => {
    assert.deepEqual(await askedFor(0n), ['write 0', 'flush']);
  });

  test('§5.2.6.2 with FLUSH, a write completes before it is committed, and a flush commits it', async () => {
    assert.deepEqual(await askedFor(FLUSH), ['write 0']);
    assert.deepEqual(await askedFor(FLUSH, undefined, blockRequest.flush()), ['flush']);
  });

  test('§5.2.6.2 with CONFIG_WCE and writeback 0, every write is committed before it completes', async () => {
    assert.deepEqual(await askedFor(FLUSH | WCE, 0), ['write 0', 'flush']);
    assert.deepEqual(await askedFor(FLUSH | WCE, 1), ['write 0']);
    assert.deepEqual(await askedFor(WCE), ['write 0', 'flush']);
    const zero = blockRequest.writeZeroes({ sector: 0, sectors: 1 });
    assert.deepEqual(await askedFor(FLUSH | WCE, 0, zero), ['writeZeroes 0 512 false', 'flush']);
  });

  test('§5.2.6.2 in writethrough mode a write past the end is IOERR, and nothing is flushed', async () => {
    const { store, asked } = spied();
    for (const request of [{ ...write, sector: SECTORS }, blockRequest.writeZeroes({ sector: SECTORS, sectors: 1 })])
      assert.equal(await statusOf(store, request, 0n), IOERR);
    assert.deepEqual(asked, []);
  });

  test('§5.2.6.2 in writethrough mode an async write is flushed after it, and one that failed is not', async () => {
    const asked: string[] = [];
    const store: BlockStore = {
      sizeBytes: SIZE,
      read() {},
      async write(offset) {
        await new Promise((resolve) => setImmediate(resolve));
        asked.push('written');
        if (offset > 0) throw new Error('no luck');
      },
      async flush() {
        asked.push('flushed');
      },
    };
    const loop = new BlockLoopback(store, { features: 0n });
    assert.equal((await loop.request(write)).status, OK);
    assert.equal((await loop.request({ ...write, sector: 1 })).status, IOERR);
    assert.deepEqual(asked, ['written', 'flushed', 'written']);
  });
});
