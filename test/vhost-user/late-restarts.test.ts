// test/vhost-user: rings that restart only when a request in flight is done, outside of a turn of the loop.
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { EventFd } from '../../src/sys/event-fd.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { attach, gatedDisk, serveDisk } from './back-end.ts';

const read = blockRequest.read(0, 512);

test('regression: a ring that restarts when a late request is done is looked at without a kick', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk(disk.store);
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  ring.submit(read);
  await eventually('the first read', () => disk.waiting === 1);
  // The ring stops for its new kick descriptor; a kick goes to the old one meanwhile, which is not read any more.
  using other = EventFd.create();
  front.send(ring.notifier(Request.SET_VRING_KICK, other.fd));
  // Time: silence is listened to.
  await setTimeout(20);
  ring.submit(read);
  disk.release();
  await eventually('the second read', () => disk.waiting === 1);
  disk.release();
  await eventually('both results', () => ring.driver.harvest().length > 0);
});
