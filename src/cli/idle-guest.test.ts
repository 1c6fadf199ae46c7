// cli: a guest that does nothing is reported once, with what is known; one that does anything is not.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type IdleWatch, softwareWarning, watchForIdleness } from './idle-guest.ts';

/** Watches a machine that has made `exits` exits since its start; returns what was logged. */
function watched(t: TestContext, exits: number, watch: Partial<IdleWatch> = {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const end = Promise.withResolvers<void>();
  const machine = { exits: 0, ended: end.promise };
  const logged: string[] = [];
  const guard = watchForIdleness(machine, { log: (line) => logged.push(line), software: undefined, ...watch });
  machine.exits = exits;
  return { said: logged, guard, end, pass: (ms: number) => t.mock.timers.tick(ms) };
}

test('regression: after 5 s without an exit to a device a line says so, and what to try', (t) => {
  const { said, pass } = watched(t, 0);
  pass(4999);
  assert.deepEqual(said, []);
  pass(1);
  assert.match(
    said.join('|'),
    /^the guest has done nothing for 5 s: no output, [^\n]*console=ttyS0: try belfry demo, or QEMU$/,
  );
  pass(60_000);
  assert.equal(said.length, 1, 'once');
});

test('a guest that printed or touched a device is left alone', (t) => {
  const { said, pass } = watched(t, 1);
  pass(60_000);
  assert.deepEqual(said, []);
});

test('a guest that has ended, or failed, is not reported', async (t) => {
  for (const how of ['resolve', 'reject'] as const) {
    const { said, end, pass } = watched(t, 0);
    end[how]();
    await end.promise.catch(() => {});
    await null;
    pass(60_000);
    assert.deepEqual(said, [], how);
    t.mock.timers.reset();
  }
  const { said, guard, pass } = watched(t, 0);
  guard[Symbol.dispose]();
  pass(60_000);
  assert.deepEqual(said, []);
});

for (const [seconds, how] of [
  [4.9, 'it keeps a processor busy'],
  [0.1, 'its processors are halted'],
] as const) {
  test(`with ${seconds} s of processor time in 5 s, ${how}`, (t) => {
    let used = 7;
    const { said, pass } = watched(t, 0, { processorSeconds: () => used });
    used += seconds;
    pass(5000);
    assert.ok(said[0]?.includes(`; ${how}. `), said.join());
  });
}

test('regression: where KVM is software, both lines say that it may be why', (t) => {
  const software = 'a software implementation (kvm_pvm, no vmx or svm)';
  const { said, pass } = watched(t, 0, { software });
  pass(5000);
  assert.ok(said[0]?.endsWith(`/dev/kvm is ${software}: try belfry demo, or QEMU`), said.join());
  assert.match(
    softwareWarning(software),
    /^\/dev\/kvm is a software .*: a stock Linux may not boot on it; belfry demo, /,
  );
});
