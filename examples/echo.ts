// A device in a few lines: it gives back what it is sent.  ./belfry serve ./examples/echo.ts --socket /tmp/echo.sock
import type { VirtioDevice } from 'belfry';

const REQUEST_BYTES_MAX = 64 * 1024;

const echo: VirtioDevice = {
  type: 63, // a type without a driver in Linux
  features: 0n,
  queueSizes: [256],
  process(_index, queue) {
    queue.drain((chain) => {
      const bytes = new Uint8Array(Math.min(chain.readable.totalBytes, REQUEST_BYTES_MAX));
      chain.readable.copyTo(bytes);
      queue.markUsed(chain, chain.writable.copyFrom(bytes));
    });
  },
};
export default echo;
