// test/examples: each example runs by the command in its first lines, from the folder of the checkout.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Kvm } from '../../src/kvm/kvm.ts';
import { startBelfry, testFolder } from '../cli/belfry-process.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const SIZE = 2 ** 20;

const web = createServer((_, response) => response.writeHead(200, { 'content-length': SIZE }).end());
await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
after(() => web.close());

/** What each prints when it works. */
const works: Readonly<Record<string, RegExp>> = {
  'counter.ts': /^Serving \.\/examples\/counter\.ts \(2 queues, /,
  'echo-console.ts': /^Serving \.\/examples\/echo-console\.ts \(2 queues, /,
  'echo.ts': /^Serving \.\/examples\/echo\.ts \(1 queue, /,
  'filter.ts': /^Serving \S*disk\.img \(1M, /,
  'http-range-disk.ts': /^Serving http:\S*disk\.img \(1M, read-only, /,
  'packet-recorder.ts': /^Serving \.\/examples\/packet-recorder\.ts \(3 queues, /,
  'ram-disk.ts': /^Serving \.\/examples\/ram-disk\.ts \(64M, /,
  'ring-a-doorbell.ts': /^the guest left: out to port 0xf4, 1 byte\n/,
  'serve-a-disk.ts': /^listening on /,
  'stopwatch.ts': /^Serving \.\/examples\/stopwatch\.ts \(1 queue, /,
  'thermometer.ts': /^Serving \.\/examples\/thermometer\.ts \(2 queues, /,
};

/** The command in the first lines of an example. */
function commandOf(name: string): string {
  const lines = readFileSync(join(CHECKOUT, 'examples', name), 'utf8').split('\n');
  const comment = lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith('//')),
  );
  const [command, ...more] = comment.flatMap(
    (line) => / {2,}((?:[A-Z_]+=\S+ )*\S*\/(?:belfry|node) .+)$/.exec(line)?.[1] ?? [],
  );
  assert.ok(command !== undefined && more.length === 0, `${name} says how to run it, once`);
  return command;
}

function whyNoKvm(): string | undefined {
  try {
    Kvm.open()[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

for (const name of readdirSync(join(CHECKOUT, 'examples')).filter((file) => file.endsWith('.ts'))) {
  const skip = name === 'ring-a-doorbell.ts' && whyNoKvm();
  test(`regression: examples/${name} runs as its first lines say`, { skip: skip || false }, async (t) => {
    const folder = testFolder(t);
    writeFileSync(join(folder, 'disk.img'), '');
    truncateSync(join(folder, 'disk.img'), SIZE);
    const line = commandOf(name)
      .replaceAll('/tmp/', `${folder}/`)
      .replace('./disk.img', join(folder, 'disk.img'))
      .replace('https://example.org', `http://127.0.0.1:${(web.address() as AddressInfo).port}`)
      .replace('node_modules/.bin/node', process.execPath);
    await using running = startBelfry([], { cwd: CHECKOUT, command: ['sh', '-c', `exec env ${line}`] });
    const expected = works[name];
    assert.ok(expected !== undefined, `${name}: what does it say when it works?`);
    await running.says(expected);
  });
}
