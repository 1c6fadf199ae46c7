// test/vhost-user: LOG_SHMFD: a guest that is migrated, and the log in which the back end marks the pages it writes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeFd } from '../../src/sys/libc.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { type RawFrontEnd, type RawMessage, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { F_LOG_ALL, F_PROTOCOL_FEATURES, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { dirtyLogBytes, LOG_PAGE_BYTES } from '../../src/virtio/dirty-log.ts';
import { attach, type BackEnd, FEATURES, openDescriptors, serveDisk, sharedMappings } from './back-end.ts';

const LOGGED = FEATURES | F_PROTOCOL_FEATURES | F_LOG_ALL;

/** The front end's half of a log. */
class Log implements Disposable {
  readonly fd: number;
  readonly #mapping: Mapping;
  readonly #sizeBytes: number;

  constructor(guest: RawGuest) {
    const { guestAddress, sizeBytes } = guest.region;
    this.#sizeBytes = dirtyLogBytes(guestAddress + sizeBytes);
    this.fd = createMemfd('log', this.#sizeBytes);
    this.#mapping = Mapping.ofFile(this.fd, this.#sizeBytes);
  }

  message(sizeBytes = this.#sizeBytes, offset = 0): RawMessage {
    const payload = new Uint8Array(BigUint64Array.of(BigInt(sizeBytes), BigInt(offset)).buffer);
    return { request: Request.SET_LOG_BASE, payload, fds: [this.fd] };
  }

  /** Returns the pages that are marked, and clears them. */
  take(): number[] {
    return [...this.#mapping.bytes].flatMap((_, at) => {
      const bits = Atomics.exchange(this.#mapping.bytes, at, 0);
      return Array.from({ length: 8 }, (_, bit) => bit)
        .filter((bit) => (bits >> bit) & 1)
        .map((bit) => at * 8 + bit);
    });
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
    closeFd(this.fd);
  }
}

/** Pages whose bytes differ from `before`. */
function changedPages({ memory, region }: RawGuest, before: Uint8Array): number[] {
  const pages = new Set<number>();
  memory.bytes.forEach((byte, i) => {
    if (byte !== before[i]) pages.add(Math.floor((region.guestAddress + i) / LOG_PAGE_BYTES));
  });
  return [...pages];
}

/** As QEMU does when a migration begins. */
async function beginLogging(front: RawFrontEnd, log: Log): Promise<void> {
  const { request } = await front.ask(log.message());
  assert.equal(request, Request.SET_LOG_BASE);
  assert.equal(await front.acknowledged(setU64(Request.SET_FEATURES, LOGGED)), 0n);
}

/** Requests of a guest after `during`: the pages that the device has written, and those that it has marked. */
async function written(backEnd: BackEnd, during: (front: RawFrontEnd, log: Log) => Promise<void>) {
  using guest = new RawGuest();
  using log = new Log(guest);
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  await during(front, log);
  const none = new Uint8Array(512);
  ring.submitQuietly(blockRequest.read(3, 3 * 4096), blockRequest.read(0, 512), blockRequest.write(9, none));
  const before = guest.memory.bytes.slice();
  ring.kick.signal();
  await ring.results();
  await front.ask(ring.getBase);
  // The driver writes there too, as it takes the results.
  const usedEvent = Math.floor(ring.driver.queue.addresses.driverArea / LOG_PAGE_BYTES);
  return { changed: changedPages(guest, before).filter((page) => page !== usedEvent), marked: log.take() };
}

test('every page that the device writes is marked: data, status, and the used ring', async () => {
  await using backEnd = serveDisk();
  const { changed, marked } = await written(backEnd, beginLogging);
  assert.ok(changed.length >= 4, `${changed.length} pages were written`);
  assert.deepEqual(
    changed.filter((page) => !marked.includes(page)),
    [],
  );
});

test('nothing is marked before F_LOG_ALL is accepted, nor after it is withdrawn', async () => {
  await using backEnd = serveDisk();
  const begun = await written(backEnd, async (front, log) => void (await front.ask(log.message())));
  assert.deepEqual(begun.marked, []);
  const ended = await written(backEnd, async (front, log) => {
    await beginLogging(front, log);
    assert.equal(await front.acknowledged(setU64(Request.SET_FEATURES, LOGGED & ~F_LOG_ALL)), 0n);
    log.take();
  });
  assert.deepEqual(ended.marked, []);
});

test('a log takes the place of another while the ring runs, and nothing of either is left at the end', async () => {
  await using backEnd = serveDisk();
  await written(backEnd, beginLogging);
  const [descriptors, mappings] = [openDescriptors(), sharedMappings()];
  for (let i = 0; i < 20; i++) {
    using guest = new RawGuest();
    using other = new Log(guest);
    const { changed, marked } = await written(backEnd, async (front, log) => {
      await beginLogging(front, other);
      await front.ask(log.message());
    });
    assert.ok(marked.length >= changed.length);
    assert.deepEqual(other.take(), [], 'the old log');
  }
  await backEnd.server.snapshot();
  assert.deepEqual([openDescriptors(), sharedMappings()], [descriptors, mappings]);
});

const refusals: readonly [string, (log: Log) => RawMessage, RegExp][] = [
  ['no descriptor', (log) => ({ ...log.message(), fds: [] }), /0 descriptors, one belongs to it/],
  ['no bytes', (log) => log.message(0), /a log of 0 bytes/],
  ['more bytes than memory can have', (log) => log.message(2 ** 40), /a log of 1099511627776 bytes/],
  ['a part beyond the end of its file', (log) => log.message(undefined, 1 << 20), /ends at byte \d+ of a file of \d+/],
  ['an end beyond 2^53', (log) => log.message(2 ** 53, 2 ** 53), /ends beyond 2\^53/],
];
for (const [what, message, expected] of refusals) {
  test(`a log with ${what} ends the session in one line`, async () => {
    await using backEnd = serveDisk();
    using guest = new RawGuest();
    using log = new Log(guest);
    using attached = await attach(backEnd, guest);
    attached.front.send(message(log));
    await attached.front.closedByPeer();
    assert.match(backEnd.lines.join('\n'), expected);
  });
}

test('a log that is too short for the memory is refused when it is to be used', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using log = new Log(guest);
  using attached = await attach(backEnd, guest);
  await attached.front.ask(log.message(16));
  attached.front.send(setU64(Request.SET_FEATURES, LOGGED));
  await attached.front.closedByPeer();
  assert.match(backEnd.lines.join('\n'), /SET_FEATURES: a dirty log of 16 bytes; the memory takes \d+/);
});

test('memory that comes while a guest is migrated must have its bits too', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using log = new Log(guest);
  using attached = await attach(backEnd, guest);
  await beginLogging(attached.front, log);
  const beyond = { ...guest.region, guestAddress: 2 ** 40, userAddress: 2 ** 41 };
  attached.front.send(setMemTable([guest.region, beyond]));
  await attached.front.closedByPeer();
  assert.match(backEnd.lines.join('\n'), /SET_MEM_TABLE: a dirty log of \d+ bytes; the memory takes \d+/);
});
