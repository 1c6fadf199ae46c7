// test/vhost-user: a thread that makes every request again as soon as it is used, and rings without end: a guest that wants it all.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { RawGuest, RawRing } from '../../src/testing/raw-guest.ts';

/** The available index is kept a whole ring ahead of the used index: the entries, all alike, are never written again. */
const PROGRAM = `
import { workerData } from 'node:worker_threads';
const { Mapping } = await import(workerData.mapping);
const { EventFd } = await import(workerData.eventFd);
const { fd, sizeBytes, available, used, size, kickFd, word } = workerData;
const { bytes } = Mapping.ofFile(fd, sizeBytes);
const words = new Uint16Array(bytes.buffer, bytes.byteOffset, sizeBytes / 2);
const bell = EventFd.borrow(kickFd);
while (Atomics.load(word, 0) === 0) {
  Atomics.store(words, available / 2 + 1, (Atomics.load(words, used / 2 + 1) + size) & 0xffff);
  bell.signal();
}`;

/** Fills the available ring with one head, and keeps the device at it until disposed. */
export function startEndless(guest: RawGuest, ring: RawRing, head: number): AsyncDisposable {
  const { addresses, available, size } = ring.driver.queue;
  available.fill(head, 2, 2 + size);
  const word = new Int32Array(new SharedArrayBuffer(4));
  const { guestAddress, sizeBytes } = guest.region;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(PROGRAM)}`), {
    workerData: {
      mapping: new URL('../../src/sys/mapping.ts', import.meta.url).href,
      eventFd: new URL('../../src/sys/event-fd.ts', import.meta.url).href,
      ...{ fd: guest.fd, sizeBytes, size, word, kickFd: ring.kick.fd },
      available: addresses.driverArea - guestAddress,
      used: addresses.deviceArea - guestAddress,
    },
  });
  const exited = once(worker, 'exit');
  return {
    async [Symbol.asyncDispose]() {
      Atomics.store(word, 0, 1);
      await exited;
    },
  };
}
