// The filters: the conformance suite through each, exact presence of members, and what each adds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockStore, StoreFilter } from '../../devices/blk/block-store.ts';
import { storeConformance } from '../../testing/store-conformance.ts';
import { StoreCompletion } from '../completion.ts';
import { memory } from '../memory.ts';
import { delay } from './delay.ts';
import { forward } from './forward.ts';
import { limit } from './limit.ts';
import { Limits } from './limits.ts';
import { log } from './log.ts';
import { readOnly } from './read-only.ts';

const WRITABLE = ['write', 'discard', 'writeZeroes', 'refreshSize', 'close'] as const;
const open = (filter: StoreFilter) => () => filter(memory(256 * 1024));

const vast = (): StoreFilter => limit(new Limits({ iops: 10_000_000, bps: 2 ** 40 }));

/** A limit whose bucket is empty at first: the first request has to wait. */
function tight(): StoreFilter {
  const limits = new Limits({});
  limits.set({ iops: 5000, burst: 0.01 });
  return limit(limits);
}

storeConformance('forward', { open: open(forward), members: WRITABLE });
storeConformance('log', { open: open(log({ line: () => {} })), members: WRITABLE });
storeConformance('delay of writes', { open: open(delay({ writeMs: 0.01 })), members: WRITABLE });
storeConformance('delay of reads', { open: open(delay({ readMs: 0.01 })), members: WRITABLE });
const pieces = ['readv', 'writev'] as const;
storeConformance('limit that is not reached', { open: open(vast()), members: [...WRITABLE, ...pieces] });
storeConformance('limit', { open: open(tight()), members: [...WRITABLE, ...pieces] });
storeConformance('read-only', {
  open: open(readOnly()),
  members: ['refreshSize', 'close'],
  content: new Uint8Array(256 * 1024),
});

/** Every optional member; each records its name and arguments; a filter may pass an absent one as undefined. */
function complete(calls: unknown[][], sizeBytes = 512): Required<BlockStore> {
  const tell =
    (name: string) =>
    (...args: unknown[]): void => {
      calls.push([name, ...args.filter((argument) => argument !== undefined)]);
    };
  return {
    sizeBytes,
    name: 'complete',
    alignment: 512,
    maxInFlight: 7,
    physicalBlockBytes: 4096,
    attach: tell('attach'),
    read: tell('read'),
    write: tell('write'),
    readv: tell('readv'),
    writev: tell('writev'),
    prefetch: tell('prefetch'),
    flush: tell('flush'),
    discard: tell('discard'),
    writeZeroes: tell('writeZeroes'),
    refreshSize: () => 1024,
    close: tell('close'),
  };
}

const OPTIONAL = [
  'name',
  'alignment',
  'maxInFlight',
  'physicalBlockBytes',
  'attach',
  'write',
  'readv',
  'writev',
  'prefetch',
  'flush',
  'discard',
  'writeZeroes',
  'refreshSize',
  'close',
] as const;
const filters: Record<string, StoreFilter> = {
  forward,
  log: log({ line: () => {} }),
  delay: delay({ readMs: 1, writeMs: 1 }),
  limit: vast(),
};

/** Members that a filter has whatever the store below has. */
const always: Readonly<Record<string, readonly string[]>> = { limit: ['attach', 'readv', 'close'] };

function isExpected(filter: string, member: string, next: object): boolean {
  if (filter === 'limit' && member === 'writev') return 'write' in next || 'writev' in next;
  return member in next || always[filter]?.includes(member) === true;
}

for (const [name, filter] of Object.entries(filters)) {
  test(`${name}: a member is there exactly if the store below has it, or the filter makes it, whichever it lacks`, () => {
    for (const lacking of [undefined, ...OPTIONAL]) {
      const next: Partial<BlockStore> & Pick<BlockStore, 'read' | 'sizeBytes'> = complete([]);
      if (lacking !== undefined) delete next[lacking];
      const store = filter(next);
      for (const member of OPTIONAL)
        assert.equal(member in store, isExpected(name, member, next), `${member} without ${lacking}`);
    }
  });

  test(`${name}: everything reaches the store below with its arguments, and the size is the current one`, async () => {
    const calls: unknown[][] = [];
    const next = complete(calls);
    const store = filter(next);
    const bytes = new Uint8Array(512);
    await store.read(1, bytes);
    await store.write?.(2, bytes);
    await store.readv?.(3, [bytes]);
    await store.writev?.(4, [bytes]);
    await store.flush?.();
    await store.discard?.(5, 6);
    await store.writeZeroes?.(7, 8, true);
    await store.close?.();
    assert.deepEqual(calls, [
      ['read', 1, bytes],
      ['write', 2, bytes],
      ['readv', 3, [bytes]],
      ['writev', 4, [bytes]],
      ['flush'],
      ['discard', 5, 6],
      ['writeZeroes', 7, 8, true],
      ['close'],
    ]);
    assert.equal(store.refreshSize?.(), 1024);
    Object.assign(next, { sizeBytes: 1024 });
    assert.equal(store.sizeBytes, 1024);
  });
}

function finished(error?: Error): StoreCompletion {
  const completion = new StoreCompletion();
  completion.finish(error);
  return completion;
}

/** The values that a store may return, and how the request ends: a filter ignores a value that is no promise. */
const answers: Record<string, { answer: () => unknown; fails?: RegExp }> = {
  nothing: { answer: () => undefined },
  null: { answer: () => null },
  'a number': { answer: () => 512 },
  'an array': { answer: () => new Uint8Array(512) },
  'an object': { answer: () => ({ bytes: 512 }) },
  'a promise': { answer: () => Promise.resolve() },
  'a promise of a number': { answer: () => Promise.resolve(512) },
  // biome-ignore lint/suspicious/noThenProperty: a thenable that is no Promise is what is tested
  'a thenable': { answer: () => ({ then: (done: () => void) => done() }) },
  'a completion': { answer: () => finished() },
  'a completion that comes later': {
    answer: () => {
      const completion = new StoreCompletion();
      setImmediate(() => completion.finish());
      return completion;
    },
  },
  'a completion with an error': { answer: () => finished(new Error('no answer')), fails: /no answer/ },
  'an error that it throws': {
    answer: () => {
      throw new Error('no such sector');
    },
    fails: /no such sector/,
  },
  'a rejection': { answer: () => Promise.reject(new Error('power failure')), fails: /power failure/ },
  'a thenable that fails': {
    // biome-ignore lint/suspicious/noThenProperty: as above
    answer: () => ({ then: (_: unknown, fail: (error: Error) => void) => fail(new Error('gone')) }),
    fails: /gone/,
  },
};

const bytes = new Uint8Array(512);
const requests: Record<string, (store: BlockStore) => unknown> = {
  read: (store) => store.read(0, bytes),
  write: (store) => store.write?.(0, bytes),
  readv: (store) => store.readv?.(0, [bytes]),
  writev: (store) => store.writev?.(0, [bytes]),
  flush: (store) => store.flush?.(),
  discard: (store) => store.discard?.(0, 512),
  writeZeroes: (store) => store.writeZeroes?.(0, 512, true),
};
const everyFilter: Record<string, StoreFilter> = {
  ...filters,
  'limit that is reached': (next) => tight()(next),
  'delay of nothing': delay({}),
  'read-only': readOnly(),
};

for (const [name, filter] of Object.entries(everyFilter)) {
  for (const [what, { answer, fails }] of Object.entries(answers)) {
    test(`${name}: a store that answers with ${what} ${fails ? 'fails' : 'serves'} its requests, as it does alone`, async () => {
      for (const [member, request] of Object.entries(requests)) {
        const store = filter({ ...complete([]), [member]: answer });
        const isThere = store[member as keyof BlockStore] !== undefined;
        const ends = (async () => void (await request(store)))();
        if (isThere && fails) await assert.rejects(ends, fails, member);
        else await ends;
      }
    });
  }
}

test('regression: log takes a number and an array for answers', () => {
  const lines: string[] = [];
  const next: BlockStore = {
    sizeBytes: 512,
    read: (_, into) => void into.fill(7),
    write: (() => 512) as unknown as () => void,
    flush: (() => [1]) as unknown as () => void,
  };
  const store = log({ line: (text) => lines.push(text) })(next);
  assert.equal(store.read(0, bytes), undefined);
  assert.equal(store.write?.(0, bytes), undefined);
  assert.equal(store.flush?.(), undefined);
  assert.deepEqual(
    lines.map((line) => line.replace(/, .*/, '')),
    ['read 512 bytes at 0: ok', 'write 512 bytes at 0: ok', 'flush: ok'],
  );
});

test('log shows any value that is thrown, and passes it on', () => {
  const lines: string[] = [];
  for (const thrown of [undefined, 'plain words', Object.create(null), { toString: null }]) {
    const read = (): never => {
      throw thrown;
    };
    const store = log({ line: (text) => lines.push(text.replace(/, .*/, '')) })({ sizeBytes: 512, read });
    assert.throws(
      () => store.read(0, bytes),
      (error) => error === thrown,
    );
  }
  const [none, words, ...others] = lines.map((line) => line.replace(/.*failed: /, ''));
  assert.deepEqual([none, words], ['undefined', 'plain words']);
  assert.deepEqual(others, ['something that cannot be shown', 'something that cannot be shown']);
});

test('read-only takes away everything that writes and flushes, and nothing else', () => {
  const store = readOnly()(complete([]));
  const left = OPTIONAL.filter((member) => store[member] !== undefined);
  const kept = [
    'name',
    'alignment',
    'maxInFlight',
    'physicalBlockBytes',
    'attach',
    'readv',
    'prefetch',
    'refreshSize',
    'close',
  ];
  assert.deepEqual(left, kept);
});

test('delay delays only the chosen requests, and their delays overlap', async () => {
  const store = delay({ readMs: 5 })(memory(65536));
  const bytes = new Uint8Array(512);
  assert.equal(store.write?.(0, bytes.fill(7)), undefined);
  const into = Array.from({ length: 8 }, () => new Uint8Array(512));
  const reads = into.map((piece) => store.read(0, piece));
  assert.ok(reads.every((read) => read instanceof Promise));
  assert.equal(into[0]?.[0], 0);
  await Promise.all(reads);
  assert.ok(into.every((piece) => piece[0] === 7));
  await store.close?.();
});

test('log has for each request what it was, its result and how long it took', async () => {
  const lines: string[] = [];
  const next = complete([]);
  next.read = () => {
    throw new Error('no such sector');
  };
  next.write = async () => {};
  next.flush = () => Promise.reject(new Error('power failure'));
  const store = log({ line: (text) => lines.push(text) })(next);
  const bytes = new Uint8Array(512);
  assert.throws(() => store.read(1024, bytes), /no such sector/);
  const pending = store.write?.(512, bytes);
  assert.equal(lines.length, 1);
  await pending;
  await assert.rejects(async () => store.flush?.(), /power failure/);
  store.readv?.(0, [bytes, bytes]);
  store.discard?.(0, 4096);
  store.writeZeroes?.(4096, 512, false);
  const times = / \d+\.\d{3} ms$/;
  assert.ok(lines.every((line) => times.test(line)));
  assert.deepEqual(
    lines.map((line) => line.replace(times, '')),
    [
      'read 512 bytes at 1024: failed: no such sector,',
      'write 512 bytes at 512: ok,',
      'flush: failed: power failure,',
      'read 1024 bytes at 0 in 2 pieces: ok,',
      'discard 4096 bytes at 0: ok,',
      'zero 512 bytes at 4096: ok,',
    ],
  );
});
