// test/cli: no signal opens Node's debugger, which would run the code of every local user as the user of the daemon.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { startBelfry, testFolder } from './belfry-process.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const GET_FEATURES = new Uint8Array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
const ANSWER_BYTES = 20;
const LISTEN = '0A';
const ROUND_TRIPS = 50;

const ways: Readonly<Record<string, readonly string[]>> = {
  'the launcher of a checkout': [join(CHECKOUT, 'belfry')],
  'the first line of bin/belfry.ts': [join(CHECKOUT, 'bin/belfry.ts')],
  'a node without flags': [process.execPath, join(CHECKOUT, 'bin/belfry.ts')],
};

/** Whether process `pid` blocks `signal`, as Node's --disable-sigusr1 does: then no listener is called. proc_pid_status(5). */
function blocks(pid: number, signal: number): boolean {
  const [, mask = ''] = /^SigBlk:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (BigInt(`0x${mask}`) & (1n << BigInt(signal - 1))) !== 0n;
}

/** The TCP sockets that process `pid` listens on. proc_pid_net(5). */
function listening(pid: number): string[] {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return ''; // closed meanwhile
    }
  });
  const lines = ['tcp', 'tcp6'].flatMap((name) =>
    readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n').slice(1),
  );
  return lines.filter((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[3] === LISTEN && links.includes(`socket:[${fields[9]}]`);
  });
}

for (const [way, command] of Object.entries(ways)) {
  test(`regression: SIGUSR1 to a daemon started by ${way} opens no debugger, and it serves on`, async (t) => {
    const cwd = testFolder(t);
    const env = { PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
    await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock'], { cwd, command, env });
    await serving.says(/Serving/);
    assert.equal(blocks(serving.pid, constants.signals.SIGUSR1), false, 'run --hand-over listens to it');
    const frontEnd = connect(join(cwd, 'sock'));
    for (let i = 0; i < ROUND_TRIPS; i++) {
      serving.kill('SIGUSR1');
      frontEnd.write(GET_FEATURES);
      const [answer] = (await once(frontEnd, 'data')) as [Buffer];
      assert.equal(answer.length, ANSWER_BYTES);
      assert.deepEqual(listening(serving.pid), []);
    }
    frontEnd.destroy();
    serving.kill('SIGTERM');
    const { code, stderr } = await serving.ended;
    assert.doesNotMatch(stderr, /Debugger/);
    assert.equal(code, 0);
  });
}
