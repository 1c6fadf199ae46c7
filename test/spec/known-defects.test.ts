// test/spec: mistakes that other devices have made with their rings, where nothing else is a test of them; and the list of all of them.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import type { ServeChain } from '../../src/virtio/device-queue.ts';
import { DriverError } from '../../src/virtio/errors.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_INDIRECT_DESC } from '../../src/virtio/spec.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';

const root = join(import.meta.dirname, '../..');

for (const bytes of [0, 8, 15])
  test(`regression: an indirect table of ${bytes} bytes skips no request: the queue stops before it`, () => {
    const features = VIRTIO_F_INDIRECT_DESC;
    const memory = new DriverMemory(new Uint8Array(1 << 16));
    const driver = new DriverQueue(memory, { size: 4, features });
    const options = { features, base: 0, notify: () => {}, again: () => {} };
    const newQueue = (base: number) =>
      splitFormat.open(4, driver.layout, new GuestMemory([memory]), { ...options, base });
    const address = memory.allocate(64);
    for (let i = 0; i < 3; i++) driver.add([{ address, length: 4, writable: true }]);
    driver.publish();
    const INDIRECT = 4;
    driver.writeDescriptor(1, address, bytes, INDIRECT, 0);
    const served: number[] = [];
    const queue = newQueue(0);
    const serve: ServeChain = (chain, to) => {
      served.push(chain.head);
      to.markUsed(chain, 0);
    };
    assert.throws(() => queue.drain(serve), DriverError);
    assert.deepEqual([served, queue.base], [[0], 1]);
    // A driver that mends it finds the queue where it stopped.
    driver.writeDescriptor(1, address, 4, 2, 0);
    newQueue(queue.base).drain(serve);
    assert.deepEqual(served, [0, 1, 2]);
  });

/** The rows of the list: what went wrong, and the tests that say it does not here. */
function defects(page: string): { defect: string; tests: { name: string; path: string }[] }[] {
  const [, section = ''] = /^## Known defects\n((?:.*\n)*?)(?=^## )/m.exec(page) ?? [];
  return [...section.matchAll(/^\| (?!---|defect)([^|]*) \| (.*) \|$/gm)].map(([, defect = '', said = '']) => ({
    defect,
    tests: [...said.matchAll(/"([^"]+)" in `([^`]+)`/g)].map(([, name = '', path = '']) => ({ name, path })),
  }));
}

test('every known defect has tests that exist by that name, or a word why it cannot exist here', () => {
  const page = readFileSync(join(root, 'docs/notification-reference.md'), 'utf8');
  const rows = defects(page);
  assert.ok(rows.length > 20, `${rows.length} rows`);
  const problems = rows.flatMap(({ defect, tests }) => {
    if (tests.length === 0 && !page.includes(`| ${defect} | cannot exist: `)) return [`${defect}: no test`];
    return tests.flatMap(({ name, path }) => {
      const file = join(root, path);
      // Where a name is made of parts, the list has … for those.
      const parts = name.split('…');
      const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
      return parts.every((part) => text.includes(part)) ? [] : [`${defect}: no test "${name}" in ${path}`];
    });
  });
  assert.deepEqual(problems, []);
});
