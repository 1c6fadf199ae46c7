// What is sent to a service manager, and that an absent one is no error.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { NotifySocket } from '../testing/notify-socket.ts';
import { serviceManager } from './service-manager.ts';

function pathFor(t: TestContext, name = 'notify.sock'): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-notify-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, name);
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

test('each line is a datagram at the socket of a path', (t) => {
  using manager = new NotifySocket(pathFor(t));
  serviceManager.notify('READY=1', manager.name);
  serviceManager.notify('STATUS=a front end connected: 100 µs', manager.name);
  assert.deepEqual(manager.take(), ['READY=1', 'STATUS=a front end connected: 100 µs']);
});

test('a name that begins with @ is in the abstract namespace, where its end is no NUL', () => {
  using manager = new NotifySocket(`@belfry-notify-${process.pid}`);
  serviceManager.notify('READY=1', manager.name);
  assert.deepEqual(manager.take(), ['READY=1']);
});

test('the socket is that of $NOTIFY_SOCKET; without one nothing is sent', (t) => {
  const before = process.env.NOTIFY_SOCKET;
  t.after(() => {
    if (before === undefined) delete process.env.NOTIFY_SOCKET;
    else process.env.NOTIFY_SOCKET = before;
  });
  using manager = new NotifySocket(pathFor(t));
  process.env.NOTIFY_SOCKET = manager.name;
  serviceManager.notify('READY=1');
  delete process.env.NOTIFY_SOCKET;
  serviceManager.notify('STOPPING=1');
  assert.deepEqual(manager.take(), ['READY=1']);
});

test('what is no socket of a manager is no error, and costs no descriptor', (t) => {
  const file = pathFor(t, 'file');
  writeFileSync(file, '');
  const gone = new NotifySocket(pathFor(t));
  gone[Symbol.dispose]();
  const before = openDescriptors();
  for (const socket of ['', 'relative', 'vsock:2:1234', '/', file, `${file}-absent`, gone.name, `/${'x'.repeat(200)}`])
    serviceManager.notify('READY=1', socket);
  assert.equal(openDescriptors(), before);
});

test('a text is cut after 1,024 bytes', (t) => {
  using manager = new NotifySocket(pathFor(t));
  serviceManager.notify(`STATUS=${'x'.repeat(5000)}`, manager.name);
  const [text = ''] = manager.take();
  assert.equal(text, `STATUS=${'x'.repeat(1024 - 'STATUS='.length)}`);
});

test('a manager that does not read is not waited for', (t) => {
  using manager = new NotifySocket(pathFor(t));
  // More than a datagram socket queues, unix(7).
  for (let i = 0; i < 2000; i++) serviceManager.notify(`STATUS=${i}`, manager.name);
  const texts = manager.take();
  assert.ok(texts.length < 2000, `${texts.length} arrived`);
  assert.equal(texts[0], 'STATUS=0');
  serviceManager.notify('READY=1', manager.name);
  assert.deepEqual(manager.take(), ['READY=1']);
});
