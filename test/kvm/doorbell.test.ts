// test/kvm: the doorbell benchmark on the real kernel, as short as possible: its counts must be right on any machine.
import assert from 'node:assert/strict';
import { benchDoorbell } from '../../bench/doorbell/doorbell.ts';
import { RING_PATHS } from '../../bench/doorbell/ring-paths.ts';
import { chooseProcessors } from '../../bench/placement.ts';
import { kvmTest } from './kvm-case.ts';

const [vcpuCpu = 0, listenerCpu = vcpuCpu] = chooseProcessors();
const options = { rounds: 1, limitMs: 20_000, runs: 1, warmUpRuns: 1, vcpuCpu, listenerCpu };

kvmTest(
  'every path rings as it says: exits leave the guest each time, doorbells never; who listens is woken',
  async () => {
    const result = await benchDoorbell(options);
    assert.equal(result.rings.length, 3 * RING_PATHS.length);
    for (const { key, listener, exitsPerThousand, wakesPerThousand, us } of result.rings) {
      const path = RING_PATHS.find((one) => one.key === key);
      assert.equal(exitsPerThousand, path?.exits ? 1000 : 0, key);
      assert.ok(us.min >= 0 && Number.isFinite(us.max), key);
      if (listener === 'nobody') assert.equal(wakesPerThousand, 0, key);
      else assert.ok(wakesPerThousand > 0 && wakesPerThousand <= 1000, `${key}, ${listener}: ${wakesPerThousand}`);
    }
    for (const { name, us, handledPerThousand } of result.interrupts) {
      assert.ok(us.median > 0, name);
      assert.ok(handledPerThousand > 0 && handledPerThousand <= 1001, `${name}: ${handledPerThousand}`);
    }
  },
);

kvmTest('it ends when its signal is aborted, and leaves no thread behind', async () => {
  const stop = new AbortController();
  let lines = 0;
  const onProgress = (): void => {
    if (++lines === 8) stop.abort();
  };
  await assert.rejects(benchDoorbell({ ...options, onProgress, signal: stop.signal }), { name: 'AbortError' });
});
