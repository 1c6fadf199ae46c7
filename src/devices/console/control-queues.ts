// virtio-console: the control queues, which carry the messages of ConsoleControl. §5.3.6.2.
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import type { Log } from '../../virtio/log.ts';
import type { Segments } from '../../virtio/segments.ts';
import type { ConsoleControl } from './console-control.ts';
import { CONTROL_BYTES } from './spec.ts';

/** Buffers used in one turn: a driver may refill the ring endlessly with buffers that are too small. */
const BUFFERS_A_TURN = 64;

/** Sends what is due into the buffers of the control receive queue, as far as there are any. */
export function sendControl(queue: DeviceQueue, control: ConsoleControl, log: Log): void {
  for (let used = 0; ; used++) {
    const message = control.next();
    if (message === undefined) break;
    if (used === BUFFERS_A_TURN) {
      queue.again();
      break;
    }
    const buffer = queue.take();
    if (buffer === undefined) break;
    queue.markUsed(buffer, write(buffer.writable, message, control, log));
  }
  queue.publish();
}

/** Returns how many bytes were written. A buffer without room for any message is returned empty. */
function write(writable: Segments, message: Uint8Array, control: ConsoleControl, log: Log): number {
  if (writable.totalBytes < CONTROL_BYTES) return 0;
  control.sent();
  if (writable.totalBytes >= message.length) return writable.copyFrom(message);
  log(`a control message of ${message.length} bytes is lost: the driver gave a buffer of ${writable.totalBytes}`);
  return 0;
}

/** Passes what the driver says to `control`. */
export function receiveControl(queue: DeviceQueue, control: ConsoleControl): void {
  queue.drain((chain) => {
    const message = new Uint8Array(Math.min(chain.readable.totalBytes, CONTROL_BYTES));
    chain.readable.copyTo(message);
    control.receive(message);
    queue.markUsed(chain, 0);
  });
}
