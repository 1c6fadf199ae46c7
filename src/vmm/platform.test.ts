// The platform devices, against a guest that writes random values to every port.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PORTS } from './address-map.ts';
import { allOnes, Bus } from './bus.ts';
import { addPlatform, type MachineExit, serialShortcuts } from './platform.ts';

function platform() {
  const ports = new Bus();
  const exits: MachineExit[] = [];
  const console = { write: () => {}, start: () => {}, onRoom: () => {}, stop: () => {} };
  const { status } = serialShortcuts();
  const serial = addPlatform({ ports, setLine: () => {}, console, end: (exit) => void exits.push(exit), status });
  return { ports, exits, status, serial };
}

const DEVICES = [...Object.values(PORTS), 0];
const port = fc.oneof(
  fc.nat(0xffff),
  fc.tuple(fc.constantFrom(...DEVICES), fc.nat(8)).map(([base, offset]) => base + offset),
);
const access = fc.record({
  port,
  sizeBytes: fc.constantFrom(1, 2, 4),
  value: fc.option(fc.nat(0xffff_ffff), { nil: undefined }),
});

test('with any accesses to any ports, reads fit their size, and nothing throws', () => {
  fc.assert(
    fc.property(fc.array(access, { maxLength: 200 }), (accesses) => {
      const { ports, serial } = platform();
      for (const { port, sizeBytes, value } of accesses) {
        if (value !== undefined) ports.write(port, sizeBytes, value);
        else {
          const read = ports.read(port, sizeBytes);
          assert.ok(
            Number.isInteger(read) && read >= 0 && read <= allOnes(sizeBytes),
            `0x${port.toString(16)}: ${read}`,
          );
        }
        serial.receive(Uint8Array.of(1, 2, 3));
      }
    }),
    { numRuns: 300 },
  );
});

test('a wide write to the exit port ends with its lowest byte', () => {
  const { ports, exits } = platform();
  ports.write(PORTS.exit, 4, 0x0102_0304);
  assert.deepEqual(exits, [{ how: 'exit', code: 4 }]);
});

test('the shared line status is current from the first access on', () => {
  const { ports, status } = platform();
  ports.write(PORTS.serial + 7, 1, 0);
  assert.equal(status[0], ports.read(PORTS.serial + 5, 1));
});
