// test/vhost-user: what a front end does wrong costs it its session, and us one line; the next one finds nothing amiss.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closesPending } from '../../src/sys/asynchronous-close.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { makePipe } from '../../src/testing/pipe.ts';
import { eventually, type RawFrontEnd, type RawMessage, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { attach, descriptorKinds, FEATURES, negotiate, serveDisk, sharedMappings } from './back-end.ts';

/** Does wrong what it does; 'left' when it closed the connection itself. */
export type Misdeed = (front: RawFrontEnd) => unknown;

export interface Misdeeds {
  /** Guest memory that is shared before each misdeed, and a ring in it that was not started. */
  readonly guest: RawGuest;
  readonly ring: RawRing;
  /** Tests that a message, or whatever is done, ends the session with one line that matches. */
  endsSession(name: string, line: RegExp, misdeed: RawMessage | Misdeed): void;
  /** Tests that the back end holds no more than before the first misdeed. To be called after the last. */
  leavesNothing(): void;
}

/** One back end for all the misdeeds of a test file. */
export function misdeeds(): Misdeeds {
  const backEnd = serveDisk();
  const guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);

  async function assertServesTheNext(): Promise<void> {
    using fresh = new RawGuest();
    using attached = await attach(backEnd, fresh);
    assert.equal((await attached.ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
  }

  async function assertEndsSession(line: RegExp, misdeed: RawMessage | Misdeed): Promise<void> {
    const already = backEnd.lines.length;
    using front = backEnd.connect();
    await negotiate(front);
    await front.settle(setMemTable([guest.region]));
    const act = typeof misdeed === 'function' ? misdeed : () => front.send(misdeed);
    if ((await act(front)) !== 'left') await front.closedByPeer();
    await eventually('a line', () => backEnd.lines.length > already);
    await assertServesTheNext();
    const [told, ...more] = backEnd.lines.slice(already);
    assert.deepEqual(more, [], 'one line is enough');
    assert.match(told as string, /^session ended: [^\n]+$/);
    assert.match(told as string, line);
  }

  /** Checked during a session that has sent nothing yet: those before it are over then. */
  async function holdings(): Promise<{ descriptors: string[]; mappings: number }> {
    using front = backEnd.connect();
    await front.settle();
    // A pipe or a socket that was received is closed by a thread of its own.
    await eventually('the last close', () => closesPending() === 0);
    return { descriptors: descriptorKinds(), mappings: sharedMappings() };
  }

  let before: unknown;
  test('a front end that does nothing wrong is served', async () => {
    await assertServesTheNext();
    // Node opens something for itself with the first child process.
    for (const fd of Object.values(await makePipe())) closeFd(fd);
    before = await holdings();
  });
  const leavesNothing = (): unknown =>
    test('none of that left a descriptor or a mapping behind', async () => {
      assert.deepEqual(await holdings(), before);
    });
  after(async () => {
    await backEnd[Symbol.asyncDispose]();
    guest[Symbol.dispose]();
  });

  return {
    guest,
    ring,
    leavesNothing,
    endsSession: (name, line, misdeed) =>
      test(`a session ends with one line: ${name}`, () => assertEndsSession(line, misdeed)),
  };
}
