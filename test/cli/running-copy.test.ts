// test/cli: `from 'belfry'` in a disk module is the copy that runs: not an old dist, and not another one that is installed.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FRONT_DOORS } from '../../src/daemon/running-copy.ts';
import { startBelfry, testFolder } from './belfry-process.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const SIZE = 2 ** 21;

const DISK = `import { forward, memory } from 'belfry';
import { Kvm } from 'belfry/kvm';
import { storeConformance } from 'belfry/testing';
if (typeof Kvm.open !== 'function' || typeof storeConformance !== 'function') throw new Error('a door leads elsewhere');
export default forward(memory(${SIZE}));
`;
const ANOTHER_COPY = `export const memory = () => undefined;
export const forward = () => ({ sizeBytes: 512, read() {} });
`;

function write(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

async function isServed(t: TestContext, disk: string, program?: string): Promise<void> {
  const command = program === undefined ? {} : { command: [process.execPath, program] };
  const args = ['serve', 'blk', disk, '--socket', join(testFolder(t), 'sock'), '--json'];
  await using serving = startBelfry(args, { cwd: dirname(disk), ...command });
  await serving.says(new RegExp(`"sizeBytes":${SIZE},`));
}

test('regression: a disk outside of the checkout imports belfry, and its other doors', async (t) => {
  await isServed(t, write(join(testFolder(t), 'disk.ts'), DISK));
});

test('regression: a disk of a project that has another belfry gets the one that serves it', async (t) => {
  const project = testFolder(t);
  const other = join(project, 'node_modules/belfry');
  write(join(other, 'package.json'), '{ "name": "belfry", "type": "module", "exports": "./index.js" }');
  write(join(other, 'index.js'), ANOTHER_COPY);
  await isServed(t, write(join(project, 'disk.mjs'), DISK));
});

test('regression: a disk in the checkout gets the source, whatever dist says', async (t) => {
  const clone = testFolder(t);
  for (const name of ['bin', 'src', 'bench', 'demo', 'doctor', 'guests', 'package.json'])
    cpSync(join(CHECKOUT, name), join(clone, name), { recursive: true });
  symlinkSync(join(CHECKOUT, 'node_modules'), join(clone, 'node_modules'));
  write(join(clone, 'dist/src/index.js'), ANOTHER_COPY);
  await isServed(t, write(join(clone, 'my/disk.ts'), DISK), join(clone, 'bin/belfry.ts'));
});

test('every front door of package.json is among them', () => {
  const { exports } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));
  const doors = Object.entries<{ readonly default?: string }>(exports).flatMap(([name, target]) => {
    if (target.default === undefined) return [];
    const source = target.default.replace('./dist/', '').replace('.js', '.ts');
    return [[name.replace('.', 'belfry'), join(CHECKOUT, source)]];
  });
  assert.deepEqual(
    [...FRONT_DOORS].map(([name, { pathname }]) => [name, pathname]),
    doors,
  );
});
