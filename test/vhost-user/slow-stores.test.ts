// test/vhost-user: a store that does not complete a request: what is logged while its queue runs, and while it stops.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { attach, gatedDisk, serveDisk } from './back-end.ts';

test('regression: a store that does not answer is named while its queue runs, and when it shall stop', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk({ ...disk.store, name: 'slow' });
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  ring.submit(blockRequest.read(3, 512), blockRequest.read(5, 512));
  await eventually('the line', () => backEnd.lines.length === 1);
  assert.match(
    backEnd.lines[0] as string,
    /^store slow: no answer to read at byte 1536 for \d+ s; 2 requests wait for it$/,
  );
  front.send(ring.getBase);
  const waits = /^queue 0 is to stop, and has waited \d+ s for 2 requests that its device has not finished$/;
  await eventually('the line of the queue', () => backEnd.lines.some((line) => waits.test(line)));
  assert.ok(front.isSilent());
  disk.release();
  await front.answer(ring.getBase.request);
  assert.ok(backEnd.events.includes('recovered'));
});
