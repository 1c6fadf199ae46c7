// Ground floor: dialogues carried inside an event loop: in order, each to its end, whatever the other side does.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { EventLoop } from '../../../sys/event-loop.ts';
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { decodeHeader, encodeMessage, encodeU64, encodeVringState } from '../protocol/message.ts';
import * as vu from '../protocol/spec.ts';
import { BackEndLink } from './back-end-link.ts';
import { FrontEndDialogue } from './front-end-dialogue.ts';

const { Request } = vu;

/** A link, and its other end, driven turn by turn. */
class Wire {
  readonly link: BackEndLink;
  readonly dialogue = new FrontEndDialogue();
  readonly lines: string[] = [];
  closed: Error | undefined;
  readonly #loop = new EventLoop();
  readonly #theirs: UnixSocket;

  constructor(t: TestContext) {
    const [ours, theirs] = UnixSocket.pair();
    this.#theirs = theirs;
    this.link = new BackEndLink(ours, this.#loop, {
      log: (line) => this.lines.push(line),
      onClosed: (reason) => {
        this.closed = reason;
      },
    });
    t.after(() => {
      this.link[Symbol.dispose]();
      theirs[Symbol.dispose]();
      this.#loop[Symbol.dispose]();
    });
  }

  /** What the link said since last asked, by name. */
  heard(): string[] {
    const bytes = new Uint8Array(4096);
    const length = this.#theirs.receive(bytes, []) ?? 0;
    const names: string[] = [];
    for (let at = 0; at < length; ) {
      const { request, size } = decodeHeader(new DataView(bytes.buffer, at));
      names.push(vu.requestName(request));
      at += vu.HEADER_BYTES + size;
    }
    return names;
  }

  answer(request: number, payload: Uint8Array = encodeU64(0n), flags = vu.REPLY): void {
    this.#theirs.send(encodeMessage(request, flags, payload));
    this.turn();
  }

  leave(): void {
    this.#theirs[Symbol.dispose]();
  }

  turn(waitMs = 0): void {
    this.#loop.turn(waitMs);
  }

  /** Carries GET_VRING_BASE; the answer, or what was wrong, is found in the list. */
  stopQueue(index: number, ends: unknown[]): void {
    this.link.carry(this.dialogue.stopQueue(index), (problem, base) => ends.push(problem?.message ?? base));
  }
}

test('a dialogue goes on when its question is answered, and the next begins when it has ended', (t) => {
  const wire = new Wire(t);
  const ends: unknown[] = [];
  wire.link.carry(wire.dialogue.negotiate(), (problem) => ends.push(problem ?? 'negotiated'));
  wire.stopQueue(3, ends);
  assert.deepEqual(wire.heard(), ['GET_FEATURES']);
  wire.answer(Request.GET_FEATURES, encodeU64(vu.F_PROTOCOL_FEATURES));
  assert.deepEqual(wire.heard(), ['GET_PROTOCOL_FEATURES']);
  wire.answer(Request.GET_PROTOCOL_FEATURES);
  assert.deepEqual(ends, ['negotiated']);
  assert.deepEqual(wire.heard(), ['SET_PROTOCOL_FEATURES', 'SET_OWNER', 'GET_VRING_BASE']);
  wire.answer(Request.GET_VRING_BASE, encodeVringState(3, 77));
  assert.deepEqual(ends, ['negotiated', 77]);
});

test('a back end that leaves ends what waited for it, and whoever holds the rings is told first', (t) => {
  const wire = new Wire(t);
  const order: string[] = [];
  wire.link.carry(wire.dialogue.stopQueue(0), () => order.push(`stop, told before: ${wire.closed !== undefined}`));
  wire.link.carry(wire.dialogue.stopQueue(1), () => order.push('the next too'));
  wire.leave();
  wire.turn();
  assert.deepEqual(order, ['stop, told before: true', 'the next too']);
  assert.equal(wire.closed?.message, 'GET_VRING_BASE: the back end closed the connection');
  const late: unknown[] = [];
  wire.stopQueue(2, late);
  assert.deepEqual(late, ['connection: the back end is gone']);
});

test('regression: one that left unnoticed is noticed by the message it does not take', (t) => {
  const wire = new Wire(t);
  wire.leave();
  const ends: unknown[] = [];
  wire.stopQueue(0, ends);
  wire.stopQueue(1, ends);
  assert.deepEqual(ends.length, 2);
  assert.equal(wire.closed?.message, 'connection: the back end closed the connection');
});

test('an answer to what was not asked ends the connection', (t) => {
  for (const [request, flags] of [
    [Request.GET_FEATURES, vu.REPLY],
    [Request.GET_VRING_BASE, 0],
  ] as const) {
    const wire = new Wire(t);
    const ends: unknown[] = [];
    wire.stopQueue(0, ends);
    wire.answer(request, encodeU64(0n), flags);
    assert.match(wire.closed?.message ?? '', /answered GET_VRING_BASE with \w+, flags 0x[15]$/);
    assert.equal(ends.length, 1);
  }
  const wire = new Wire(t);
  wire.answer(Request.GET_FEATURES);
  assert.match(wire.closed?.message ?? '', /answered no question with GET_FEATURES/);
});

test('an answer of the wrong size is the end of its dialogue, and of nothing else', (t) => {
  const wire = new Wire(t);
  const ends: unknown[] = [];
  wire.stopQueue(0, ends);
  wire.stopQueue(1, ends);
  wire.answer(Request.GET_VRING_BASE, new Uint8Array(4));
  wire.answer(Request.GET_VRING_BASE, encodeVringState(1, 5));
  assert.deepEqual(ends, ['GET_VRING_BASE: the back end answered 4 bytes, not 8', 5]);
  assert.equal(wire.closed, undefined);
});

test('a back end that is silent is spoken of once, and still waited for', (t) => {
  const wire = new Wire(t);
  const ends: unknown[] = [];
  wire.stopQueue(0, ends);
  wire.turn(5000);
  assert.equal(wire.lines.length, 1);
  assert.match(wire.lines[0] as string, /^the back end has not answered GET_VRING_BASE for 1 s/);
  assert.deepEqual(ends, []);
  wire.answer(Request.GET_VRING_BASE, encodeVringState(0, 9));
  assert.deepEqual(ends, [9]);
});

test('a link that is left ends what it carried, and tells nobody that it is closed', (t) => {
  const wire = new Wire(t);
  const ends: unknown[] = [];
  wire.stopQueue(0, ends);
  wire.link[Symbol.dispose]();
  assert.deepEqual([ends.length, wire.closed], [1, undefined]);
  assert.deepEqual(wire.heard(), ['GET_VRING_BASE']);
});
