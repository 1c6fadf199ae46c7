// test/examples: the example that serves a disk from a plain script, run as a user runs it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const VIRTIO_BLK_F_MQ = 1n << 12n;
const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));

/** Sends VHOST_USER_GET_FEATURES and returns the reply. */
async function askFeatures(socketPath: string): Promise<bigint> {
  const socket = connect(socketPath);
  socket.write(new Uint8Array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]));
  const [reply] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  assert.equal(reply.length, 20);
  return reply.readBigUInt64LE(12);
}

test('examples/serve-a-disk.ts listens, answers a front end, and leaves nothing behind', async (context) => {
  const socketPath = join(folder, 'disk.sock');
  const script = new URL('../../examples/serve-a-disk.ts', import.meta.url).pathname;
  const flags = ['--disable-warning=ExperimentalWarning', script, socketPath];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  context.after(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(line.toString(), `listening on ${socketPath}\n`);
  assert.equal((await askFeatures(socketPath)) & VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_MQ);
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  assert.equal(existsSync(socketPath), false);
});
