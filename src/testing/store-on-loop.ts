// testing: a store that has an event loop, in a program without a device.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';

/** Attaches `store` to an event loop that runs in Node's until the store is closed. */
export function storeOnLoop(store: BlockStore): BlockStore {
  const loop = new EventLoop();
  const ride = rideNodeLoop(loop);
  store.attach?.(loop);
  const close = store.close?.bind(store);
  return Object.assign(store, {
    close: async () => {
      await close?.();
      ride[Symbol.dispose]();
      loop[Symbol.dispose]();
    },
  });
}
