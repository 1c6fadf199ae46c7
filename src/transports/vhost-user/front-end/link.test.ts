// A link to a back end: exchanges run one after the other, each to its end, whatever the other side does.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { closesPending } from '../../../sys/asynchronous-close.ts';
import { EventFd } from '../../../sys/event-fd.ts';
import { EventLoop } from '../../../sys/event-loop.ts';
import { rideNodeLoop } from '../../../sys/node-loop.ts';
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { eventually } from '../../../testing/raw-front-end.ts';
import { decodeHeader, encodeMessage, encodeU64, encodeVringState } from '../protocol/message.ts';
import * as vu from '../protocol/spec.ts';
import { Link } from './link.ts';
import { FrontEndRequests } from './requests.ts';

const { Request } = vu;

/** A link, and its other end. */
class Wire {
  readonly link: Link;
  readonly requests: FrontEndRequests;
  readonly lines: string[] = [];
  closed: Error | undefined;
  readonly #loop = new EventLoop();
  readonly #theirs: UnixSocket;

  constructor(t: TestContext) {
    const [ours, theirs] = UnixSocket.pair();
    const ride = rideNodeLoop(this.#loop);
    this.#theirs = theirs;
    this.link = new Link(ours, this.#loop, {
      log: (line) => this.lines.push(line),
      onClosed: (reason) => {
        this.closed = reason;
      },
    });
    this.requests = new FrontEndRequests(this.link);
    t.after(() => {
      this.link[Symbol.dispose]();
      theirs[Symbol.dispose]();
      ride[Symbol.dispose]();
      this.#loop[Symbol.dispose]();
    });
  }

  /** Returns the names of the next messages of the link, at least `count`. */
  async received(count = 1): Promise<string[]> {
    const names: string[] = [];
    await eventually(`${count} messages`, () => {
      const bytes = new Uint8Array(4096);
      const length = this.#theirs.receive(bytes, []) ?? 0;
      for (let at = 0; at < length; ) {
        const { request, size } = decodeHeader(new DataView(bytes.buffer, at));
        names.push(vu.requestName(request));
        at += vu.HEADER_BYTES + size;
      }
      return names.length >= count;
    });
    return names;
  }

  answer(request: number, payload: Uint8Array = encodeU64(0n), flags = vu.REPLY, fds: readonly number[] = []): void {
    this.#theirs.send(encodeMessage(request, flags, payload), fds);
  }

  leave(): void {
    this.#theirs[Symbol.dispose]();
  }

  /** Sends GET_VRING_BASE; resolves to the answer, or the message of the error. */
  stopQueue(index: number): Promise<number | string> {
    return this.link.exchange(() => this.requests.stopQueue(index)).catch((problem: Error): string => problem.message);
  }
}

test('an exchange goes on when its request is answered, and the next begins when it has ended', async (t) => {
  const wire = new Wire(t);
  const negotiated = wire.link.exchange(() => wire.requests.negotiate());
  const stopped = wire.stopQueue(3);
  assert.deepEqual(await wire.received(), ['GET_FEATURES']);
  wire.answer(Request.GET_FEATURES, encodeU64(vu.F_PROTOCOL_FEATURES));
  assert.deepEqual(await wire.received(), ['GET_PROTOCOL_FEATURES']);
  wire.answer(Request.GET_PROTOCOL_FEATURES);
  await negotiated;
  assert.deepEqual(await wire.received(3), ['SET_PROTOCOL_FEATURES', 'SET_OWNER', 'GET_VRING_BASE']);
  wire.answer(Request.GET_VRING_BASE, encodeVringState(3, 77));
  assert.equal(await stopped, 77);
});

test('when the back end disconnects, onClosed is called first, then pending requests reject', async (t) => {
  const wire = new Wire(t);
  const order: string[] = [];
  const ends = [
    wire.stopQueue(0).then(() => order.push(`first ends, onClosed before: ${wire.closed !== undefined}`)),
    wire.stopQueue(1).then(() => order.push('second ends')),
  ];
  await wire.received();
  wire.leave();
  await Promise.all(ends);
  assert.deepEqual(order, ['first ends, onClosed before: true', 'second ends']);
  assert.equal(wire.closed?.message, 'GET_VRING_BASE: the back end closed the connection');
  assert.equal(await wire.stopQueue(2), 'connection: the back end is gone');
});

test('regression: a disconnect that was not seen is detected when a message cannot be sent', async (t) => {
  const wire = new Wire(t);
  wire.leave();
  const problems = await Promise.all([wire.stopQueue(0), wire.stopQueue(1)]);
  assert.deepEqual(problems.length, 2);
  assert.equal(wire.closed?.message, 'connection: the back end closed the connection');
});

test('an answer to another request ends the connection', async (t) => {
  for (const [request, flags] of [
    [Request.GET_FEATURES, vu.REPLY],
    [Request.GET_VRING_BASE, 0],
  ] as const) {
    const wire = new Wire(t);
    const end = wire.stopQueue(0);
    await wire.received();
    wire.answer(request, encodeU64(0n), flags);
    assert.match(String(await end), /answered GET_VRING_BASE with \w+, flags 0x[15]$/);
    assert.match(wire.closed?.message ?? '', /answered GET_VRING_BASE with \w+, flags 0x[15]$/);
  }
  const wire = new Wire(t);
  wire.answer(Request.GET_FEATURES);
  await eventually('the end', () => wire.closed !== undefined);
  assert.match(wire.closed?.message ?? '', /answered no question with GET_FEATURES/);
});

test('an answer of the wrong size ends its exchange and nothing else', async (t) => {
  const wire = new Wire(t);
  const ends = [wire.stopQueue(0), wire.stopQueue(1)];
  await wire.received();
  wire.answer(Request.GET_VRING_BASE, new Uint8Array(4));
  await wire.received();
  wire.answer(Request.GET_VRING_BASE, encodeVringState(1, 5));
  assert.deepEqual(await Promise.all(ends), ['GET_VRING_BASE: the back end answered 4 bytes, not 8', 5]);
  assert.equal(wire.closed, undefined);
});

test('regression: a descriptor that comes with a good answer is closed', async (t) => {
  const wire = new Wire(t);
  using doorbell = EventFd.create();
  const end = wire.stopQueue(0);
  await wire.received(); // the timerfd of the link's timers is open now
  await eventually('the connections before it are closed', () => closesPending() === 0);
  const before = readdirSync('/proc/self/fd').length;
  wire.answer(Request.GET_VRING_BASE, encodeVringState(0, 5), vu.REPLY, [doorbell.fd]);
  assert.equal(await end, 5);
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('a back end that does not answer is logged once, and still waited for', async (t) => {
  const wire = new Wire(t);
  const end = wire.stopQueue(0);
  await eventually('a line', () => wire.lines.length > 0);
  assert.match(wire.lines[0] as string, /^the back end has not answered GET_VRING_BASE for 1 s/);
  wire.answer(Request.GET_VRING_BASE, encodeVringState(0, 9));
  assert.equal(await end, 9);
  assert.equal(wire.lines.length, 1);
});

test('disposing a link rejects the pending request and does not call onClosed', async (t) => {
  const wire = new Wire(t);
  const end = wire.stopQueue(0);
  assert.deepEqual(await wire.received(), ['GET_VRING_BASE']);
  wire.link[Symbol.dispose]();
  assert.match(String(await end), /closed the connection/);
  assert.equal(wire.closed, undefined);
});
