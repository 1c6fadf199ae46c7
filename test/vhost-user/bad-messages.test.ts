// test/vhost-user: messages that are none, are cut short, have the wrong size or ask for what was not offered.
import { setTimeout } from 'node:timers/promises';
import { EventFd } from '../../src/sys/event-fd.ts';
import type { SystemError } from '../../src/sys/libc.ts';
import { setU64 } from '../../src/testing/raw-front-end.ts';
import { encodeConfig, encodeMessage } from '../../src/transports/vhost-user/protocol/message.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { misdeeds } from './misdeeds.ts';

const { endsSession, leavesNothing } = misdeeds();

/** A header with any values. */
function header(request: number, flags: number, size: number): Uint8Array {
  const bytes = new Uint8Array(12);
  new Uint32Array(bytes.buffer).set([request, flags, size]);
  return bytes;
}

for (const request of [0, 19, 33, 99, 0xffff_ffff])
  endsSession(`message ${request}`, new RegExp(`message ${request}: not a message this back end knows`), { request });

for (const flags of [0, 2, 3])
  endsSession(`version ${flags}`, /GET_FEATURES: flags 0x\d are not version 1/, (front) =>
    front.sendBytes(header(Request.GET_FEATURES, flags, 0)),
  );

for (const size of [1025, 2 ** 31, 2 ** 32 - 1])
  endsSession(
    `a payload of ${size} bytes`,
    new RegExp(`SET_MEM_TABLE: ${size} bytes of payload, the most is 1024`),
    (front) => front.sendBytes(header(Request.SET_MEM_TABLE, 1, size)),
  );

for (const count of [1, 11, 12, 15])
  endsSession(
    `it leaves after ${count} bytes`,
    new RegExp(`connection: closed after ${count} bytes of a message`),
    (front) => {
      front.sendBytes(encodeMessage(Request.SET_STATUS, 0, new Uint8Array(8)).subarray(0, count));
      front[Symbol.dispose]();
      return 'left';
    },
  );

/** The size of each payload; a message that is not named has none. */
const payloadBytes: Readonly<Record<number, number>> = {
  [Request.SET_FEATURES]: 8,
  [Request.SET_PROTOCOL_FEATURES]: 8,
  [Request.SET_STATUS]: 8,
  [Request.SET_VRING_NUM]: 8,
  [Request.SET_VRING_BASE]: 8,
  [Request.GET_VRING_BASE]: 8,
  [Request.SET_VRING_ENABLE]: 8,
  [Request.SET_VRING_KICK]: 8,
  [Request.SET_VRING_CALL]: 8,
  [Request.SET_VRING_ERR]: 8,
  [Request.SET_VRING_ADDR]: 40,
  [Request.SET_LOG_BASE]: 16,
  [Request.SET_MEM_TABLE]: 8,
  [Request.ADD_MEM_REG]: 40,
  [Request.REM_MEM_REG]: 40,
  [Request.GET_CONFIG]: 12,
  [Request.SET_CONFIG]: 12,
};
const unspoken: readonly number[] = [Request.SET_LOG_FD];

for (const [name, request] of Object.entries(Request).filter(([, request]) => !unspoken.includes(request))) {
  const right = payloadBytes[request] ?? 0;
  for (const size of [0, right - 1, right + 1, 1024].filter((size) => size >= 0 && size !== right))
    endsSession(`${name} with ${size} bytes of payload`, new RegExp(`ended: ${name}: `), {
      request,
      payload: new Uint8Array(size),
    });
}

for (const request of unspoken)
  endsSession(`message ${request}, which is for a dirty log`, /not a message this back end knows/, {
    request,
    payload: new Uint8Array(8),
  });

endsSession('SET_FEATURES with a bit that was not offered', /SET_FEATURES: feature bits 0x8000000 were not offered/, {
  ...setU64(Request.SET_FEATURES, 1n << 27n),
});
endsSession('SET_PROTOCOL_FEATURES with a bit that was not offered', /SET_PROTOCOL_FEATURES: feature bits 0x800 /, {
  ...setU64(Request.SET_PROTOCOL_FEATURES, 1n << 11n),
});

for (const [request, name] of [
  [Request.GET_CONFIG, 'GET_CONFIG'],
  [Request.SET_CONFIG, 'SET_CONFIG'],
] as const) {
  for (const [offset, size] of [
    [257, 1],
    [0, 257],
    [2 ** 32 - 1, 8],
  ] as const)
    endsSession(`${name} of ${size} bytes at ${offset}`, new RegExp(`${name}: ${size} bytes at ${offset} `), {
      request,
      payload: encodeConfig(offset, new Uint8Array(size)),
    });
  endsSession(`${name} of 8 bytes with 4 in its payload`, new RegExp(`${name}: 8 bytes at 0 .* in a payload of 16`), {
    request,
    payload: encodeConfig(0, new Uint8Array(8)).subarray(0, 16),
  });
}

for (const count of [9, 64, 200])
  endsSession(`a message with ${count} descriptors`, /ended: .*descriptors/, (front) => {
    using eventFd = EventFd.create();
    front.send({ request: Request.GET_FEATURES, fds: Array.from({ length: count }, () => eventFd.fd) });
  });

endsSession('descriptors that come with every byte of a message', /ended: .*descriptors/, (front) => {
  using eventFd = EventFd.create();
  const message = encodeMessage(Request.SET_STATUS, 0, new Uint8Array(8));
  const eight = Array.from({ length: 8 }, () => eventFd.fd);
  for (const byte of message.subarray(0, 19)) front.sendBytes(Uint8Array.of(byte), eight);
});

endsSession(
  'it takes no answers',
  /GET_FEATURES: the front end does not take the answer: sendmsg: E/,
  async (front) => {
    const questions = Array.from({ length: 64 }, () => encodeMessage(Request.GET_FEATURES, 0, new Uint8Array(0)));
    const bytes = Uint8Array.from(questions.flatMap((question) => [...question]));
    try {
      for (let i = 0; i < 1000; i++) {
        front.sendBytes(bytes);
        // Time: none is tested; the back end needs a turn.
        await setTimeout(1);
      }
    } catch (error) {
      // The back end has had enough.
      if ((error as SystemError).code !== 'EPIPE') throw error;
    }
    return 'left';
  },
);

leavesNothing();
