// test/vhost-user: descriptors that are missing, too many or of the wrong kind for the message.
import { closeSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { UnixListener, UnixSocket } from '../../src/sys/unix-socket.ts';
import { makePipe } from '../../src/testing/pipe.ts';
import {
  addMemReg,
  type RawFrontEnd,
  type RawMessage,
  type RawRegion,
  setMemTable,
} from '../../src/testing/raw-front-end.ts';
import { encodeVringState } from '../../src/transports/vhost-user/protocol/message.ts';
import { Request, requestName } from '../../src/transports/vhost-user/protocol/spec.ts';
import { misdeeds } from './misdeeds.ts';

const { endsSession, guest, ring, leavesNothing } = misdeeds();

/** What is neither an eventfd nor a pipe nor a socket. */
const odd = {
  file: openSync(import.meta.filename, 'r'),
  folder: openSync(import.meta.dirname, 'r'),
  null: openSync('/dev/null', 'r+'),
  zero: openSync('/dev/zero', 'r+'),
  memory: createMemfd('odd', 4096),
};
const readOnlyMemory = openSync(`/proc/self/fd/${odd.memory}`, 'r');
const eventFd = EventFd.create();
const eventFds = (count: number): number[] => Array.from({ length: count }, () => eventFd.fd);
after(() => {
  for (const fd of [...Object.values(odd), readOnlyMemory]) closeSync(fd);
  eventFd[Symbol.dispose]();
});

for (const request of [Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR]) {
  const name = requestName(request);
  for (const [kind, fd] of Object.entries(odd))
    endsSession(`${name} with ${kind}`, new RegExp(`${name}: an eventfd belongs to it: .*the descriptor is a `), {
      ...ring.notifier(request, fd),
    });
  endsSession(
    `${name} with a pipe`,
    new RegExp(`${name}: an eventfd belongs to it: .*the descriptor is a pipe`),
    async (front) => {
      const { readFd, writeFd } = await makePipe();
      front.send(ring.notifier(request, readFd));
      closeFd(readFd);
      closeFd(writeFd);
    },
  );
  for (const count of [0, 2, 8])
    endsSession(`${name} with ${count} descriptors`, new RegExp(`${name}: ${count} descriptors, one belongs to it`), {
      ...ring.notifier(request, 0),
      fds: eventFds(count),
    });
  endsSession(`${name} of queue 4 of 4`, new RegExp(`${name}: queue 4 of 4`), {
    request,
    payload: encodeVringState(4, 0),
    fds: eventFds(1),
  });
}

for (const [kind, fd] of [...Object.entries(odd), ['eventfd', eventFd.fd] as const])
  endsSession(`SET_BACKEND_REQ_FD with ${kind}`, /SET_BACKEND_REQ_FD: a socket belongs to it/, {
    request: Request.SET_BACKEND_REQ_FD,
    fds: [fd],
  });
for (const count of [0, 2])
  endsSession(`SET_BACKEND_REQ_FD with ${count} descriptors`, new RegExp(`SET_BACKEND_REQ_FD: ${count} descriptors`), {
    request: Request.SET_BACKEND_REQ_FD,
    fds: eventFds(count),
  });

/** Memory that would be fine but for `changes`. */
const region = (changes: Partial<RawRegion> = {}): RawRegion => ({
  ...guest.region,
  guestAddress: 512 << 20,
  userAddress: 1 << 30,
  ...changes,
});

/** A message with a descriptor that is made for it. */
async function sendWith(front: RawFrontEnd, message: (region: RawRegion) => RawMessage, fd: number): Promise<void> {
  front.send(message(region({ fd })));
  closeFd(fd);
}

for (const [name, message] of [
  ['SET_MEM_TABLE', (region: RawRegion) => setMemTable([region])],
  ['ADD_MEM_REG', addMemReg],
] as const) {
  const noMemory = new RegExp(`ended: ${name}: the descriptor is .*: a memfd or a file in memory is wanted`);
  for (const [kind, fd] of Object.entries({ ...odd, eventfd: eventFd.fd }))
    if (kind !== 'memory') endsSession(`${name} with ${kind}`, noMemory, message(region({ fd })));
  endsSession(`${name} with a pipe`, noMemory, async (front) => {
    const { readFd, writeFd } = await makePipe();
    closeFd(writeFd);
    await sendWith(front, message, readFd);
  });
  endsSession(`${name} with a socket`, noMemory, (front) => {
    const path = join(tmpdir(), `belfry-odd-${process.pid}.sock`);
    using listener = UnixListener.listen(path);
    using socket = UnixSocket.connect(path);
    front.send(message(region({ fd: socket.fd })));
    void listener;
  });
  endsSession(`${name} with memory that may only be read`, new RegExp(`ended: ${name}: .*EACCES`), {
    ...message(region({ fd: readOnlyMemory, sizeBytes: 100 })),
  });
  endsSession(`${name} of more memory than there are addresses`, new RegExp(`ended: ${name}: .*ENOMEM`), (front) => {
    const fd = createMemfd('huge', 2 ** 50);
    front.send(message(region({ fd, sizeBytes: 2 ** 50 })));
    closeFd(fd);
  });
  for (const count of [0, 2, 8])
    endsSession(`${name} of one region with ${count} descriptors`, new RegExp(`${name}: ${count} descriptors`), {
      ...message(region()),
      fds: eventFds(count),
    });
}

leavesNothing();
