// test/spec: a small disk behind a transport under test, and the driver that finds it there.
import assert from 'node:assert/strict';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { BlockDriver } from '../../src/testing/block-driver.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import type { TransportDriver } from '../../src/testing/transport-driver.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';

export const DISK_BYTES = 64 * 1024;
export const QUEUES = 3;
const QUEUE_SIZE = 16;

export interface DrivenDevice<Driver> extends AsyncDisposable {
  readonly device: BlockDevice;
  readonly driver: Driver;
  readonly guest: RawGuest;
  /** Has queue 0 run. */
  run(): Promise<BlockDriver>;
}

export function driveDevice<Driver extends TransportDriver>(
  driverOf: (device: BlockDevice, guest: RawGuest) => Driver,
): DrivenDevice<Driver> {
  const device = new BlockDevice(arrayStore(pattern(DISK_BYTES)), { queues: QUEUES });
  const guest = new RawGuest();
  const driver = driverOf(device, guest);
  return {
    device,
    driver,
    guest,
    async run() {
      await driver.reset();
      const features = await driver.offered();
      assert.ok(await driver.accept(features));
      const ring = new DriverQueue(guest.memory, { size: QUEUE_SIZE, features });
      assert.ok(await driver.setUp(0, QUEUE_SIZE, ring.addresses));
      await driver.start();
      return new BlockDriver(guest.memory, ring);
    },
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]();
      guest[Symbol.dispose]();
    },
  };
}
