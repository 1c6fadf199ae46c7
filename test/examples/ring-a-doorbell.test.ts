// test/examples: the example that rings a doorbell, run as a user runs it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Kvm } from '../../src/kvm/kvm.ts';
import { patience } from '../../src/testing/patience.ts';

function reason(): string | undefined {
  try {
    Kvm.open()[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

test('examples/ring-a-doorbell.ts: three rings in the kernel, one exit', { skip: reason() ?? false }, () => {
  const script = new URL('../../examples/ring-a-doorbell.ts', import.meta.url).pathname;
  const argv = ['--disable-warning=ExperimentalWarning', script];
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: patience(20_000) });
  assert.equal(stdout, 'the guest left: out to port 0xf4, 1 byte\nthe doorbell rang: true\n', stderr);
  assert.equal(status, 0);
});
