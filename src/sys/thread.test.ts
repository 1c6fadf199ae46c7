// Threads that call C can exit at any moment without crashing the process.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { startThread } from './thread.ts';

const cpu = new URL('./cpu.ts', import.meta.url);
/** Calls C for some time: at the end V8 is often busy compiling just these calls. */
const program = (ms: number): URL =>
  new URL(`data:text/javascript,
    import { threadCpuNs } from ${JSON.stringify(cpu.href)};
    const endMs = performance.now() + ${ms};
    while (performance.now() < endMs) threadCpuNs();`);

test('regression: a thread that ends while V8 compiles its calls of C does not take the process with it', async () => {
  for (let ms = 1; ms <= 30; ms += 0.5) {
    const [code] = await once(startThread(program(ms), {}), 'exit');
    assert.equal(code, 0, `after ${ms} ms`);
  }
});

test('a thread that cannot start reports an error, and the next one starts', async () => {
  const broken = startThread(new URL('./no-such-file.ts', import.meta.url), {});
  await assert.rejects(once(broken, 'exit'), { code: 'MODULE_NOT_FOUND' });
  assert.deepEqual(await once(startThread(program(0), {}), 'exit'), [0]);
});
