// test/vhost-user: the load generator against qemu-storage-daemon: an error here would be the generator's own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { test } from 'node:test';
import { storageDaemonCommand } from '../../bench/back-end-commands.ts';
import { BackEndProcess } from '../../bench/back-end-process.ts';
import { BenchDisk } from '../../bench/bench-disk.ts';
import { generateLoad } from '../../bench/load/load-generator.ts';
import { countErrors, DEFAULT_LOAD, WAITS } from '../../bench/load/load-spec.ts';
import { allowedProcessors } from '../../bench/processor-use.ts';

const PEER = 'qemu-storage-daemon';
const DISK_BYTES = 32 << 20;
const isHere = spawnSync(PEER, ['--version'], { stdio: 'ignore' }).status === 0;
const skip = isHere ? false : `peer missing: ${PEER}`;

for (const wait of WAITS) {
  for (const eventIdx of [true, false]) {
    const name = `${PEER} keeps what it is given, ${wait}, ${eventIdx ? 'with' : 'without'} EVENT_IDX, two queues`;
    test(name, { skip }, async (t) => {
      using disk = new BenchDisk(DISK_BYTES);
      const queues = 2;
      const command = storageDaemonCommand({ folder: disk.folder, disk: disk.path, queues }, 'threads');
      await using backEnd = await BackEndProcess.start(command, allowedProcessors().at(-1) ?? 0, t.signal);
      const spec = {
        ...DEFAULT_LOAD,
        operation: 'verify',
        seconds: 1,
        warmupSeconds: 0.1,
        depth: 16,
        queues,
        wait,
        eventIdx,
      } as const;
      const results = await generateLoad({ socket: backEnd.socket, spec, cpus: [], signal: t.signal });
      assert.equal(results.length, queues);
      for (const { errors, requests, latency } of results) {
        assert.equal(countErrors(errors), 0, JSON.stringify(errors));
        assert.ok(requests > 0 && latency.count >= requests);
      }
      const peersFile = process.env.BELFRY_PEERS_FILE;
      if (peersFile) appendFileSync(peersFile, `${PEER}\n`);
    });
  }
}

test('a back end that is killed under load is one clear error, at once', { skip }, async (t) => {
  using disk = new BenchDisk(DISK_BYTES);
  const command = storageDaemonCommand({ folder: disk.folder, disk: disk.path, queues: 1 }, 'threads');
  await using backEnd = await BackEndProcess.start(command, allowedProcessors().at(-1) ?? 0, t.signal);
  const load = generateLoad({
    socket: backEnd.socket,
    spec: { ...DEFAULT_LOAD, seconds: 30 },
    cpus: [],
    signal: backEnd.ended,
    onPhase: () => process.kill(backEnd.pid, 'SIGKILL'),
  });
  await assert.rejects(load, /^Error: qsd threads ended \(SIGKILL\): it printed nothing$/);
});

test('a device that uses nothing any more is a stall, reported with both sides of the ring', {
  skip,
}, async (t) => {
  using disk = new BenchDisk(DISK_BYTES);
  const command = storageDaemonCommand({ folder: disk.folder, disk: disk.path, queues: 1 }, 'threads');
  await using backEnd = await BackEndProcess.start(command, allowedProcessors().at(-1) ?? 0, t.signal);
  const freeze = (): void => void process.kill(backEnd.pid, 'SIGSTOP');
  const spec = { ...DEFAULT_LOAD, seconds: 30, depth: 4 };
  try {
    const [result] = await generateLoad({ socket: backEnd.socket, spec, cpus: [], onPhase: freeze, signal: t.signal });
    assert.equal(result?.errors.stall, 1);
    assert.match(result?.errors.first ?? '', /^nothing used for 5 s; driver: avail idx \d+, .*device: used idx \d+, /);
  } finally {
    process.kill(backEnd.pid, 'SIGCONT');
  }
});

test('a back end that does not start is an error with its reason', async () => {
  const command = ['sh', '-c', 'echo no disk today >&2; exit 3'];
  const start = BackEndProcess.start({ name: 'fake', command, socket: '/nonexistent/s' }, allowedProcessors()[0] ?? 0);
  await assert.rejects(start, /^Error: fake ended \(exit 3\): no disk today$/);
});
