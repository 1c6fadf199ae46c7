// bench/stress: which states are a lost notification and which are only slow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SideState } from './side-words.ts';
import { describeStall, lossBetween, type QueueSnapshot } from './stall.ts';

const side: SideState = {
  phase: 'asleep',
  index: 10,
  inFlight: 0,
  done: 10,
  sleeps: 3,
  sent: 4,
  lastSentMs: 1000,
  seen: 2,
  lastSeenMs: 900,
};

/** Both sides asleep: the driver waits for 2 of its requests, which the device has not popped. */
const lostKick: QueueSnapshot = {
  atMs: 2000,
  ring: { availableFlags: 0, availableIndex: 12, usedEvent: 11, usedFlags: 0, usedIndex: 10, availEvent: 10 },
  driver: { ...side, inFlight: 2 },
  device: side,
  driverSleeps: true,
  deviceSleeps: true,
  kicksPending: 0,
  callsPending: 0,
};

const lostCall: QueueSnapshot = {
  ...lostKick,
  ring: { ...lostKick.ring, usedIndex: 12 },
  device: { ...side, index: 12 },
};

/** The device popped everything, used nothing of it, and sleeps. */
const lostRequest: QueueSnapshot = { ...lostKick, device: { ...side, index: 12, inFlight: 2 } };

const later = (snapshot: QueueSnapshot): QueueSnapshot => ({ ...snapshot, atMs: snapshot.atMs + 200 });

for (const [name, snapshot, loss] of [
  ['a device asleep on available requests', lostKick, 'kick'],
  ['the same while the driver polls', { ...lostKick, driver: { ...lostKick.driver, phase: 'polling' } }, 'kick'],
  ['a driver asleep on completions', lostCall, 'call'],
  ['a device asleep on requests it has popped', lostRequest, 'request'],
] as const) {
  test(`${name} has lost a ${loss}`, () => {
    assert.equal(lossBetween(snapshot, later(snapshot)), loss);
    assert.match(describeStall(loss, snapshot), new RegExp(`^lost ${loss}: `));
  });
}

const innocent: readonly (readonly [name: string, now: QueueSnapshot])[] = [
  ['a kick is pending', { ...lostKick, kicksPending: 1 }],
  ['a call is pending', { ...lostCall, callsPending: 1 }],
  ['the device waits for a processor', { ...lostKick, deviceSleeps: false }],
  ['the driver waits for a processor', { ...lostCall, driverSleeps: false }],
  ['the driver polls on its completions', { ...lostCall, driver: { ...lostCall.driver, phase: 'polling' } }],
  ['the driver is between publishing and kicking', { ...lostKick, driver: { ...lostKick.driver, phase: 'working' } }],
  ['nothing is in flight', { ...lostCall, driver: { ...side, index: 12, inFlight: 0 } }],
];

for (const [name, now] of innocent) {
  test(`nothing is lost while ${name}`, () => {
    assert.equal(lossBetween(now, later(now)), undefined);
  });
}

test('nothing is lost while anything moves', () => {
  for (const moved of [
    { ...lostKick, ring: { ...lostKick.ring, availableIndex: 13 } },
    { ...lostKick, driver: { ...lostKick.driver, sleeps: 4 } },
    { ...lostKick, device: { ...side, seen: 3 } },
    { ...lostKick, kicksPending: 1 },
  ])
    assert.equal(lossBetween(moved, later(lostKick)), undefined);
});

test('a report holds the state of both sides: indices, flags, events, in flight, last kick and call', () => {
  const report = describeStall('kick', lostKick);
  for (const says of [
    '2 requests wait',
    'avail_flags 0, avail_idx 12, used_event 11, used_flags 0, used_idx 10, avail_event 10',
    'popped up to 10',
    'kicks (last 1.100 s ago), 4 calls (last 1.000 s ago)',
    'driver: asleep, took up to 10, 2 in flight; sent 4 kicks (last 1000 ms ago)',
    'pending: 0 kicks, 0 calls',
  ])
    assert.ok(report.includes(says), `${says}\n${report}`);
});
