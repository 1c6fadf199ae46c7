// Suites of belfry/testing work with any test runner; node:test is loaded only where it is used.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { memory } from '../stores/memory.ts';
import { storeConformance } from './store-conformance.ts';

test('regression: a plain script that imports belfry/testing loads no test runner', () => {
  const script = `await import(${JSON.stringify(new URL('index.ts', import.meta.url).href)});
    console.log(process.moduleLoadList.filter((name) => name.includes('test_runner')).join());`;
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', script];
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8', env });
  assert.deepEqual([stdout, stderr], ['\n', '']);
});

test('a suite defines its tests with the given runner', async () => {
  const defined = new Map<string, () => Promise<void>>();
  storeConformance('mem', {
    open: () => memory(1 << 16),
    members: ['write', 'discard', 'writeZeroes', 'refreshSize', 'close'],
    test: (name, body) => defined.set(name, body),
  });
  assert.ok(defined.size > 3);
  for (const [name, body] of defined) {
    assert.match(name, /^mem: /);
    await body();
  }
});
