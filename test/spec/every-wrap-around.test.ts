// Tiny rings around every place where an index wraps, under every order of adding, draining, completing and harvesting.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Chooser } from '../../src/testing/chooser.ts';
import { every } from '../../src/testing/every.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { DRIVER_MODES, RingWorld } from '../reference/ring-world.ts';

const SIZES = [1, 2, 4];
/** Around 0, where the ring's own index wraps, around 0x8000, where a signed comparison would, and around 0xffff. */
const STARTS = [0, 1, 2, 0x7ffd, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffc, 0xfffd, 0xfffe, 0xffff];

const bytes = new Uint8Array(1024);
// The end of a turn is by the clock, too, and a walk has to be the same each time.
performance.now = () => 0;

/** One of the steps that are possible now; false when there is none. */
function step(world: RingWorld, choose: Chooser, polls: boolean): boolean {
  const steps = [
    ...(world.driver.freeDescriptors > 0 ? [() => world.add(1)] : []),
    ...(world.driver.freeDescriptors > 1 ? [() => world.add(2)] : []),
    ...(world.kicked ? [() => world.drain()] : []),
    ...(world.held > 0 ? [() => world.complete(0)] : []),
    ...(world.held > 1 ? [() => world.complete(world.held - 1)] : []),
    ...(world.called || (polls && world.driver.hasUsed()) ? [() => world.harvest()] : []),
  ];
  if (steps.length === 0) return false;
  choose.of(steps)();
  return true;
}

function walk(features: bigint, mode: (typeof DRIVER_MODES)[number], steps: number): number {
  let walks = 0;
  for (const size of SIZES) {
    for (const start of STARTS) {
      for (const choose of every()) {
        const world = new RingWorld({ size, start, features, mode, later: choose.flip() }, bytes);
        for (let i = 0; i < steps && step(world, choose, mode === 'polls'); i++);
        world.settle();
        walks++;
      }
    }
  }
  return walks;
}

const STEPS = 9;

for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
  // Without EVENT_IDX a driver cannot request every second call.
  for (const mode of features === 0n ? DRIVER_MODES.filter((name) => name !== 'second') : DRIVER_MODES) {
    const name = `${features === 0n ? 'flags' : 'EVENT_IDX'}, the driver asks for calls: ${mode}`;
    test(`no order of ${STEPS} steps around a wrap loses, doubles or delays a request (${name})`, () => {
      assert.ok(walk(features, mode, STEPS) > 100_000);
    });
  }
}
