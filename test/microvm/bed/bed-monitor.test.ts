// test/microvm/bed: the report on a silent QEMU, tested with one that is stopped on purpose.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findExecutable } from '../../../guests/guest-programs.ts';
import { eventually } from '../../../src/testing/patience.ts';
import { isListening } from '../../guest/back-end.ts';
import { askMonitor, threadsOf } from './bed-monitor.ts';

function socketFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-monitor-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'monitor.sock');
}

test('the report has the registers of QEMU’s processor, and the kernel’s state of its threads', async (t) => {
  const qemu = await findExecutable('qemu-system-x86_64');
  if (qemu === undefined) return t.skip('peer missing: qemu-system-x86_64');
  const socket = socketFor(t);
  const words = ['-accel', 'tcg', '-S', '-nodefaults', '-display', 'none', '-qmp', `unix:${socket},server=on,wait=off`];
  const child = spawn(qemu, words, { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  await eventually('its monitor listens', () => isListening(socket));
  const text = await askMonitor(socket);
  assert.match(text, /^info status:\nVM status: paused/m);
  assert.equal(text.match(/RIP=000000000000fff0 .* HLT=0/g)?.length ?? text.match(/EIP=0000fff0 .* HLT=0/g)?.length, 2);
  assert.match(text, /dumping local APIC state for CPU 0/);
  assert.match(text, /^info pic:/m);
  assert.doesNotMatch(text, /XMM|FPR/);
  assert.match(threadsOf(child.pid as number), /^qemu-system-x86: S, \w+, \d+ ticks$/m);
});

test('a monitor that is not there, or does not answer, is a line and no more', async (t) => {
  const socket = socketFor(t);
  assert.match(await askMonitor(socket), /^QEMU's monitor: .*ENOENT/);
  const server = createServer((connection) => void connection.resume().on('error', () => {})).listen(socket);
  await once(server, 'listening');
  t.after(() => server.close());
  assert.match(await askMonitor(socket), /^QEMU's monitor: it does not answer/);
});
