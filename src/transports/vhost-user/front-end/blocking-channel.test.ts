// The blocking channel against a back end whose answers the test wrote in advance.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { closesPending } from '../../../sys/asynchronous-close.ts';
import { EventFd } from '../../../sys/event-fd.ts';
import { closeFd } from '../../../sys/libc.ts';
import { UnixListener, UnixSocket } from '../../../sys/unix-socket.ts';
import { eventually } from '../../../testing/patience.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { encodeMessage, encodeU64 } from '../protocol/message.ts';
import { REPLY, Request } from '../protocol/spec.ts';
import { BlockingChannel } from './blocking-channel.ts';

/** Two ends of one connection. */
function pair(t: TestContext): { ours: UnixSocket; theirs: UnixSocket } {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-channel-'));
  t.after(() => rmSync(folder, { recursive: true }));
  using listener = UnixListener.listen(join(folder, 's'));
  const ours = UnixSocket.connect(join(folder, 's'));
  const theirs = listener.accept() as UnixSocket;
  t.after(() => theirs[Symbol.dispose]());
  return { ours, theirs };
}

const features = encodeMessage(Request.GET_FEATURES, REPLY, encodeU64(5n));

test('ask returns the payload of an answer that has arrived already', (t) => {
  const { ours, theirs } = pair(t);
  using channel = new BlockingChannel(ours, 1000);
  theirs.send(features);
  assert.equal(channel.ask({ request: Request.GET_FEATURES }).payload.getBigUint64(0, true), 5n);
});

test('two answers that arrive in one piece are read as two', (t) => {
  const { ours, theirs } = pair(t);
  using channel = new BlockingChannel(ours, 1000);
  theirs.send(Uint8Array.from([...features, ...features]));
  channel.ask({ request: Request.GET_FEATURES });
  assert.equal(channel.ask({ request: Request.GET_FEATURES }).payload.getBigUint64(0, true), 5n);
});

test('descriptors travel in both directions', (t) => {
  const { ours, theirs } = pair(t);
  using channel = new BlockingChannel(ours, 1000);
  using doorbell = EventFd.create();
  theirs.send(features, [doorbell.fd]);
  const { fds } = channel.ask({ request: Request.GET_FEATURES, fds: [doorbell.fd] });
  const received: number[] = [];
  theirs.receive(new Uint8Array(64), received);
  for (const fd of [...fds, ...received]) {
    EventFd.adopt(fd).signal();
    assert.ok(doorbell.clear());
    closeFd(fd);
  }
  assert.equal(fds.length + received.length, 2);
});

const faults: readonly { name: string; bytes: Uint8Array; says: RegExp }[] = [
  { name: 'silence', bytes: new Uint8Array(0), says: /^GET_FEATURES: the back end gave no answer in 30 ms$/ },
  { name: 'half an answer', bytes: features.subarray(0, 15), says: /gave no answer in 30 ms$/ },
  {
    name: 'the answer to another question',
    bytes: encodeMessage(Request.GET_QUEUE_NUM, REPLY, encodeU64(5n)),
    says: /^GET_FEATURES: the back end answered with GET_QUEUE_NUM, flags 0x5$/,
  },
  {
    name: 'an answer without the reply flag',
    bytes: encodeMessage(Request.GET_FEATURES, 0, encodeU64(5n)),
    says: /answered with GET_FEATURES, flags 0x1$/,
  },
  {
    name: 'an answer of another version',
    bytes: encodeMessage(Request.GET_FEATURES, 2, encodeU64(5n)),
    says: /nonsense/,
  },
];

for (const { name, bytes, says } of faults) {
  test(`${name} is one clear line`, (t) => {
    const { ours, theirs } = pair(t);
    using channel = new BlockingChannel(ours, 30);
    if (bytes.length > 0) theirs.send(bytes);
    assert.throws(
      () => channel.ask({ request: Request.GET_FEATURES }),
      (error) => error instanceof BackEndError && says.test(error.message) && !error.message.includes('\n'),
    );
  });
}

test('regression: the descriptors of an answer that is wrong, or cut off, are closed', async (t) => {
  using doorbell = EventFd.create();
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  for (const { bytes } of faults.filter((fault) => fault.bytes.length > 0)) {
    const { ours, theirs } = pair(t);
    using channel = new BlockingChannel(ours, 30);
    // A connection with unread bytes is closed on a thread of its own.
    await eventually('the connections before it are closed', () => closesPending() === 0);
    const before = descriptors();
    theirs.send(bytes, [doorbell.fd, doorbell.fd]);
    assert.throws(() => channel.ask({ request: Request.GET_FEATURES }), BackEndError);
    assert.equal(descriptors(), before);
  }
});

test('when a back end closes the connection, the error names the unanswered message', (t) => {
  const { ours, theirs } = pair(t);
  using channel = new BlockingChannel(ours, 1000);
  channel.tell({ request: Request.GET_FEATURES });
  theirs[Symbol.dispose]();
  assert.throws(
    () => channel.receiveReply(Request.GET_FEATURES),
    /^BackEndError: GET_FEATURES: the back end closed the/,
  );
  assert.throws(
    () => channel.tell({ request: Request.SET_OWNER }),
    /^BackEndError: SET_OWNER: the back end closed the connection$/,
  );
});
