// test/vhost-user: a thread that repeats every request as soon as it is used, and kicks endlessly.
import { once } from 'node:events';
import { startThread } from '../../src/sys/thread.ts';
import { eventually } from '../../src/testing/patience.ts';
import type { RawGuest, RawRing } from '../../src/testing/raw-guest.ts';

/** The available index is kept a whole ring ahead of the used index: the entries, each with a head of its own, stay as they are. */
const PROGRAM = `
import { workerData } from 'node:worker_threads';
const { Mapping } = await import(workerData.mapping);
const { EventFd } = await import(workerData.eventFd);
const { fd, sizeBytes, available, used, size, kickFd, word } = workerData;
const { bytes } = Mapping.ofFile(fd, sizeBytes);
const words = new Uint16Array(bytes.buffer, bytes.byteOffset, sizeBytes / 2);
const bell = EventFd.borrow(kickFd);
Atomics.store(word, 1, 1);
while (Atomics.load(word, 0) === 0) {
  Atomics.store(words, available / 2 + 1, (Atomics.load(words, used / 2 + 1) + size) & 0xffff);
  bell.signal();
}`;

/** Repeats the requests whose heads are in the available ring, a whole ring of them, until disposed of. */
export async function startEndless(guest: RawGuest, ring: RawRing): Promise<AsyncDisposable> {
  const { addresses, size } = ring.driver.queue;
  const word = new Int32Array(new SharedArrayBuffer(8));
  const { guestAddress, sizeBytes } = guest.region;
  const worker = startThread(new URL(`data:text/javascript,${encodeURIComponent(PROGRAM)}`), {
    workerData: {
      mapping: new URL('../../src/sys/mapping.ts', import.meta.url).href,
      eventFd: new URL('../../src/sys/event-fd.ts', import.meta.url).href,
      ...{ fd: guest.fd, sizeBytes, size, word, kickFd: ring.kick.fd },
      available: addresses.driverArea - guestAddress,
      used: addresses.deviceArea - guestAddress,
    },
  });
  const exited = once(worker, 'exit');
  await eventually('the thread that asks', () => Atomics.load(word, 1) === 1);
  return {
    async [Symbol.asyncDispose]() {
      Atomics.store(word, 0, 1);
      await exited;
    },
  };
}
