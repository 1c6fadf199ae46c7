// test/vhost-user: regions and rings that cannot be: too long, on top of each other, outside, out of line.
import {
  addMemReg,
  type RawMessage,
  type RawRegion,
  remMemReg,
  setMemTable,
  setU64,
} from '../../src/testing/raw-front-end.ts';
import { encodeVringAddress, encodeVringState } from '../../src/transports/vhost-user/protocol/message.ts';
import { MEM_SLOTS_MAX, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { FEATURES } from './back-end.ts';
import { misdeeds } from './misdeeds.ts';

const { endsSession, guest, ring, leavesNothing } = misdeeds();

/** Another view of the guest's memory, which would be fine but for `changes`. */
const region = (changes: Partial<RawRegion> = {}): RawRegion => ({
  ...guest.region,
  guestAddress: 512 << 20,
  userAddress: 1 << 30,
  ...changes,
});

for (const [name, message] of [
  ['SET_MEM_TABLE', (region: RawRegion) => setMemTable([region])],
  ['ADD_MEM_REG', addMemReg],
] as const) {
  for (const [what, changes] of [
    ['longer than its file', { sizeBytes: (1 << 20) + 4096 }],
    ['that begins too late in its file', { mmapOffset: 4096 }],
  ] as const)
    endsSession(
      `${name} of a region ${what}`,
      new RegExp(`${name}: a region that ends at byte 1052672 of a file of 1048576`),
      {
        ...message(region(changes)),
      },
    );
  endsSession(`${name} of a region of no bytes`, new RegExp(`${name}: a region of no bytes`), {
    ...message(region({ sizeBytes: 0 })),
  });
  for (const field of ['guestAddress', 'userAddress'] as const)
    endsSession(
      `regression: ${name} of a region whose ${field} is below 2^53 and its end is not`,
      new RegExp(`${name}: a region that ends beyond 2\\^53`),
      { ...message(region({ [field]: 2 ** 53 - 4096 })) },
    );
  for (const field of ['guestAddress', 'sizeBytes', 'userAddress', 'mmapOffset'] as const)
    endsSession(`${name} with ${field} 2^53`, new RegExp(`${name}: 0x20000000000000 is no address`), {
      ...message(region({ [field]: 2 ** 53 })),
    });
}

for (const offset of [0, 4096, (1 << 20) - 1, 1 - (1 << 20)]) {
  const other = region({ guestAddress: guest.region.guestAddress + offset });
  const at = `0x${other.guestAddress.toString(16)}`;
  endsSession(
    `ADD_MEM_REG over another region, ${offset} bytes on`,
    new RegExp(`ADD_MEM_REG: two regions at .*${at}`),
    {
      ...addMemReg(other),
    },
  );
  endsSession(
    `SET_MEM_TABLE with two regions, ${offset} bytes apart`,
    new RegExp(`SET_MEM_TABLE: two regions at .*${at}`),
    {
      ...setMemTable([guest.region, other]),
    },
  );
}

endsSession('SET_MEM_TABLE of nine regions', /SET_MEM_TABLE: 9 regions, the most is 8/, {
  ...setMemTable(Array.from({ length: 9 }, (_, i) => region({ guestAddress: i << 21 }))),
  fds: [guest.fd],
});
endsSession('SET_MEM_TABLE of 2^32 - 1 regions', /SET_MEM_TABLE: 4294967295 regions/, {
  ...setMemTable([region()]),
  payload: new Uint8Array(264).fill(0xff),
});
endsSession(
  `ADD_MEM_REG of ${MEM_SLOTS_MAX + 1} regions`,
  new RegExp(`ADD_MEM_REG: more than ${MEM_SLOTS_MAX} regions`),
  async (front) => {
    // One is there already.
    for (let i = 1; i <= MEM_SLOTS_MAX; i++) {
      const ack = front.acknowledged(addMemReg(region({ guestAddress: i * 2 ** 32, sizeBytes: 4096 })));
      if ((await ack) !== 0n && i !== MEM_SLOTS_MAX) throw new Error(`region ${i} was refused`);
    }
  },
);

for (const [field, value] of [
  ['guestAddress', 0],
  ['userAddress', 0],
  ['sizeBytes', 4096],
] as const)
  endsSession(`REM_MEM_REG of a region with another ${field}`, /REM_MEM_REG: there is no region/, {
    ...remMemReg({ ...guest.region, [field]: value }),
  });

const perRing: Readonly<Record<string, number>> = {
  SET_VRING_NUM: Request.SET_VRING_NUM,
  SET_VRING_BASE: Request.SET_VRING_BASE,
  GET_VRING_BASE: Request.GET_VRING_BASE,
  SET_VRING_ENABLE: Request.SET_VRING_ENABLE,
};
for (const [name, request] of Object.entries(perRing))
  for (const index of [4, 256, 2 ** 32 - 1])
    endsSession(`${name} of queue ${index} of 4`, new RegExp(`${name}: queue ${index} of 4`), {
      request,
      payload: encodeVringState(index, 0),
    });
endsSession('SET_VRING_ADDR of queue 4 of 4', /SET_VRING_ADDR: queue 4 of 4/, {
  request: Request.SET_VRING_ADDR,
  payload: encodeVringAddress(4, 0, 0, 0),
});

for (const size of [0, 3, 65536, 2 ** 31, 2 ** 32 - 1])
  endsSession(
    `a queue of ${size}`,
    new RegExp(`SET_VRING_NUM: a queue of ${size}; its size is a power of two up to 32768`),
    {
      request: Request.SET_VRING_NUM,
      payload: encodeVringState(0, size),
    },
  );
for (const base of [65536, 2 ** 32 - 1])
  endsSession(`a ring that goes on from ${base}`, new RegExp(`SET_VRING_BASE: a ring cannot go on from ${base}`), {
    request: Request.SET_VRING_BASE,
    payload: encodeVringState(0, base),
  });
for (const value of [2, 2 ** 32 - 1])
  endsSession(`ENABLE ${value}`, new RegExp(`SET_VRING_ENABLE: ${value} is neither 0 nor 1`), {
    request: Request.SET_VRING_ENABLE,
    payload: encodeVringState(0, value),
  });

const PARTS = ['descriptorArea', 'deviceArea', 'driverArea'] as const;
/** Bytes and alignment of each part of a ring of 16. */
const MEASURES = { descriptorArea: [256, 16], deviceArea: [134, 4], driverArea: [38, 2] } as const;

/** SET_VRING_ADDR with one part somewhere else, counted from where the region begins. */
function misplaced(part: (typeof PARTS)[number], offset: number): RawMessage {
  const { userAddress, guestAddress } = guest.region;
  const { addresses } = ring.driver.queue;
  const places = PARTS.map((each) => userAddress + (each === part ? offset : addresses[each] - guestAddress));
  return { request: Request.SET_VRING_ADDR, payload: encodeVringAddress(0, places[0]!, places[1]!, places[2]!) };
}

for (const part of PARTS) {
  const [bytes, alignment] = MEASURES[part];
  for (const [what, offset] of [
    ['before the region', -alignment],
    ['beyond the region', 1 << 20],
    ['across the end of the region', (1 << 20) - bytes + alignment - (((1 << 20) - bytes) % alignment)],
    ['at its guest address', guest.region.guestAddress - guest.region.userAddress],
  ] as const)
    endsSession(`${part} ${what}`, new RegExp(`SET_VRING_ADDR: ${part} at 0x[0-9a-f]+ is in no region`), (front) => {
      for (const message of ring.start()) if (message.request !== Request.SET_VRING_ADDR) front.send(message);
      front.send(misplaced(part, offset));
    });
  endsSession(
    `${part} out of line`,
    new RegExp(`SET_VRING_ADDR: ${part} at .* is not aligned to ${alignment}`),
    (front) => {
      for (const message of ring.start()) if (message.request !== Request.SET_VRING_ADDR) front.send(message);
      front.send(misplaced(part, 8192 + alignment / 2));
    },
  );
}

endsSession(
  'a ring outside that SET_FEATURES would start',
  /SET_VRING_ADDR: deviceArea .* is in no region/,
  (front) => {
    const messages = ring.start().filter(({ request }) => request !== Request.SET_VRING_ENABLE);
    for (const message of messages) if (message.request !== Request.SET_VRING_ADDR) front.send(message);
    front.send(misplaced('deviceArea', 1 << 20));
    front.send(setU64(Request.SET_FEATURES, FEATURES));
  },
);

endsSession('a ring at 2^64 - 1', /SET_VRING_ADDR: descriptorArea .* is in no region/, (front) => {
  const payload = new Uint8Array(40).fill(0xff, 8);
  for (const message of ring.start()) if (message.request !== Request.SET_VRING_ADDR) front.send(message);
  front.send({ request: Request.SET_VRING_ADDR, payload });
});

leavesNothing();
