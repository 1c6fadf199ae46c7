// sys: the program of a thread of a ThreadRing: takes an operation, makes its system call, and reports the result.
import { workerData } from 'node:worker_threads';
import { F_DUPFD_CLOEXEC } from './constants.ts';
import { closeFd, errno, libc } from './libc.ts';
import { FIELD, OPERATION, ThreadRingMemory, type ThreadRingSetup, WORD } from './thread-ring-words.ts';

const { buffer, entries, fd, vectors, vectorBytes } = workerData as ThreadRingSetup;
const memory = new ThreadRingMemory(entries, buffer);
const { words, done, mask } = memory;
/** A descriptor of its own: the ring may be gone, and the number of its own be another file's, when this is signalled. */
const event = libc.fcntl(fd, F_DUPFD_CLOEXEC, 0);

/** Makes the system call of a slot. Returns its result, or a negative errno. */
function execute(slot: number): number {
  const fd = memory.field(slot, FIELD.fd);
  const offset = BigInt(memory.field(slot, FIELD.offset));
  const count = memory.field(slot, FIELD.count);
  const vector = vectors + BigInt(slot * vectorBytes);
  const result = call(memory.field(slot, FIELD.operation), fd, vector, count, offset, slot);
  return result < 0 ? -errno() : result;
}

function call(operation: number, fd: number, vector: bigint, count: number, offset: bigint, slot: number): number {
  switch (operation) {
    case OPERATION.read:
      // SAFETY: `count` struct iovecs of bytes that the owner of the operation keeps alive until it is reaped.
      return libc.preadv(fd, vector, count, offset);
    case OPERATION.write:
      // SAFETY: as above; the kernel only reads the bytes.
      return libc.pwritev(fd, vector, count, offset);
    case OPERATION.fdatasync:
      return libc.fdatasync(fd);
    default:
      return libc.fallocate(fd, count, offset, BigInt(memory.field(slot, FIELD.length)));
  }
}

function complete(slot: number, result: number): void {
  memory.setField(slot, FIELD.result, result);
  const at = Atomics.add(words, WORD.doneTail, 1) & mask;
  // The result is read after this word.
  Atomics.store(done, at, slot + 1);
  Atomics.add(words, WORD.completed, 1);
  Atomics.notify(words, WORD.completed);
  if (Atomics.exchange(words, WORD.signalled, 1) === 0) libc.eventfd_write(event, 1);
}

/** Waits until there may be an operation. It counts as waiting before it looks, so that no wake-up is lost. */
function wait(): void {
  Atomics.add(words, WORD.waiting, 1);
  const wakeUps = Atomics.load(words, WORD.wakeUps);
  const isIdle = Atomics.load(words, WORD.tail) === Atomics.load(words, WORD.head);
  if (isIdle && Atomics.load(words, WORD.stop) === 0) Atomics.wait(words, WORD.wakeUps, wakeUps);
  Atomics.sub(words, WORD.waiting, 1);
}

while (Atomics.load(words, WORD.stop) === 0) {
  const slot = memory.take();
  if (slot === undefined) wait();
  else complete(slot, execute(slot));
}
if (event >= 0) closeFd(event);
