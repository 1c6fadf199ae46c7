// The credit of a connection: counts wrap at 2^32, and one is newer or older than another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Credit, IN_FLIGHT_MAX } from './credit.ts';

test('counts wrap: a guest that takes everything has room for ever', () => {
  const credit = new Credit(4096);
  let taken = 0;
  for (let round = 0; round < 9; round++) {
    assert.equal(credit.heard(0x4000_0000, taken), true);
    assert.equal(credit.room, 0x4000_0000);
    credit.sent(0x4000_0000);
    taken = (taken + 0x4000_0000) >>> 0;
    assert.equal(credit.room, 0);
  }
});

test('an older fwd_cnt changes nothing, one of more than was sent is refused', () => {
  const credit = new Credit(4096);
  credit.sent(100);
  assert.equal(credit.heard(1000, 60), true);
  assert.equal(credit.heard(1000, 50), true);
  assert.equal(credit.room, 960);
  assert.equal(credit.heard(1000, 101), false);
});

test('regression: a guest with a buf_alloc of 4 GiB that takes more than 2 GiB at once is heard', () => {
  const credit = new Credit(4096);
  assert.equal(credit.heard(0xffff_ffff, 0), true);
  assert.equal(credit.room, IN_FLIGHT_MAX);
  credit.sent(credit.room);
  assert.equal(credit.heard(0xffff_ffff, IN_FLIGHT_MAX), true);
  assert.equal(credit.inFlight, 0);
});

test('received bytes are bounded by buf_alloc, over the wrap', () => {
  const credit = new Credit(0x8000_0000);
  for (let round = 0; round < 5; round++) {
    assert.equal(credit.received(0x8000_0000), true);
    assert.equal(credit.received(1), false);
    credit.taken(0x8000_0000);
    assert.equal(credit.isUpdateDue, true);
    credit.told();
  }
});
