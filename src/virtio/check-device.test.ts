// Which objects are a VirtioDevice, and the error message for one that is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDevice } from './check-device.ts';

const device = { type: 42, features: 1n, queueSizes: [256, 64], process() {} };

test('a device passes, with everything it may have or without', () => {
  checkDevice(device);
  checkDevice({ ...device, queueSizes: [], config: { bytes: new Uint8Array(8) }, maxInFlight: 1, reset() {} });
});

const wrongs: readonly [unknown, RegExp][] = [
  [undefined, /an object .*this is undefined$/],
  [{ sizeBytes: 512, read() {} }, /this is a store: wrap it, new BlockDevice\(store\)$/],
  [{ ...device, type: '4' }, /type is "4"; the number/],
  [{ ...device, features: 0 }, /features is 0; a bigint is wanted: 0n/],
  [{ ...device, features: 1n << 28n }, /features is 0x10000000; bits 24 to 49/],
  [{ ...device, queueSizes: 256 }, /queueSizes is 256; an array is wanted: \[256\]/],
  [{ ...device, queueSizes: [256, 100] }, /queueSizes is \[256,100\]; powers of two/],
  [{ ...device, queueSizes: [65536] }, /up to 32768/],
  [{ ...device, config: new Uint8Array(4) }, /config.bytes is missing/],
  [{ ...device, maxInFlight: 0 }, /maxInFlight is 0/],
  [{ ...device, process: undefined }, /process is missing; a function is wanted/],
  [{ ...device, reset: 1 }, /reset is 1; a function is wanted/],
];

for (const [object, line] of wrongs) {
  test(`what is no device is refused with one line: ${line}`, () => {
    assert.throws(
      () => checkDevice(object),
      (error) => error instanceof TypeError && line.test(error.message) && !error.message.includes('\n'),
    );
  });
}
