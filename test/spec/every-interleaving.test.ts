// The driver acts at every point where the device touches a shared word of the ring: no kick and no call may be lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { every } from '../../src/testing/every.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { watchAtomics } from '../reference/atomics-watch.ts';
import { DRIVER_MODES, RingWorld } from '../reference/ring-world.ts';

const SIZE = 4;
/** How often the driver acts in one walk. */
const ACTS_MAX = 3;
const bytes = new Uint8Array(1024);
// The end of a turn is by the clock, too, and a walk has to be the same each time.
performance.now = () => 0;

/** Runs a step of the device during which `act` may run before each access. */
function during(step: () => void, act: () => void): void {
  using _watch = watchAtomics(act);
  step();
}

for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
  for (const later of [false, true]) {
    const name = `${features === 0n ? 'flags' : 'EVENT_IDX'}, completed ${later ? 'later' : 'while draining'}`;
    test(`nothing is lost wherever in a drain or a completion the driver acts (${name})`, () => {
      let walks = 0;
      for (const start of [0, 0x7ffe, 0x7fff, 0xfffd, 0xfffe, 0xffff]) {
        for (const choose of every()) {
          walks++;
          const mode = choose.of(DRIVER_MODES);
          const world = new RingWorld({ size: SIZE, start, features, later, mode, watchCalls: false }, bytes);
          let left = ACTS_MAX;
          const act = (): void => {
            const acts = [
              () => {},
              ...(world.driver.freeDescriptors > 0 ? [() => world.add(1)] : []),
              ...(world.driver.freeDescriptors > 1 ? [() => world.add(2)] : []),
              ...(world.called || mode === 'polls' ? [() => world.harvest()] : []),
            ];
            const chosen = left === 0 ? 0 : choose.below(acts.length);
            if (chosen > 0) left--;
            acts[chosen]?.();
          };
          world.add(1);
          during(() => world.drain(), act);
          if (world.held > 0) during(() => world.complete(world.held - 1), act);
          world.settle();
        }
      }
      assert.ok(walks > 1000, `${walks}`);
    });
  }
}
