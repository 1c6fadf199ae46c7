// What somebody who listens gets of a completion, and what somebody who awaits it like a promise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreCompletion } from './completion.ts';

const failure = new Error('the disk is gone');

for (const error of [undefined, failure]) {
  const how = error === undefined ? 'that succeeds' : 'that fails';

  test(`a listener is called within finish, once, for an operation ${how}`, () => {
    const completion = new StoreCompletion();
    const got: unknown[] = [];
    completion.listen({ completed: (outcome) => got.push(outcome) });
    assert.equal(completion.isListenedTo, true);
    assert.deepEqual(got, []);
    completion.finish(error);
    assert.deepEqual(got, [error]);
  });

  test(`a listener that comes late is called at once, for an operation ${how}`, () => {
    const completion = new StoreCompletion();
    completion.finish(error);
    const got: unknown[] = [];
    completion.listen({ completed: (outcome) => got.push(outcome) });
    assert.deepEqual(got, [error]);
  });

  test(`it can be awaited before and after the end, any number of times, by an operation ${how}`, async () => {
    const completion = new StoreCompletion();
    const before = [completion.then(), completion.then()];
    completion.finish(error);
    const outcomes = await Promise.allSettled([...before, completion]);
    const expected =
      error === undefined ? { status: 'fulfilled', value: undefined } : { status: 'rejected', reason: error };
    assert.deepEqual(outcomes, [expected, expected, expected]);
    // An `await` calls `then` only later, so nobody who settles promises may rely on having seen one.
    assert.equal(completion.isListenedTo, false);
  });
}

test('it takes one listener: a second one would not be called', () => {
  const completion = new StoreCompletion();
  completion.listen({ completed: () => {} });
  assert.throws(() => completion.listen({ completed: () => {} }), /somebody else waits/);
});
