// Ground floor: the messages about the device as a whole: features, configuration space, status, reset.
import { fstatSync } from 'node:fs';
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { decodeConfig, encodeConfig, encodeU64, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { Request } from '../protocol/spec.ts';
import { type Handler, PROTOCOL_FEATURES } from './session.ts';
import { expectPayload } from './vring-messages.ts';

function u64Of(message: Message): bigint {
  expectPayload(message, 8);
  return message.payload.getBigUint64(0, true);
}

function withoutPayload(handler: Handler): Handler {
  return (session, message, done) => {
    expectPayload(message, 0);
    handler(session, message, done);
  };
}

const setFeatures: Handler = (session, message, done) => {
  session.acceptFeatures(u64Of(message), done);
};

const setProtocolFeatures: Handler = (_session, message, done) => {
  const extra = u64Of(message) & ~PROTOCOL_FEATURES;
  if (extra !== 0n)
    throw new ProtocolError('SET_PROTOCOL_FEATURES', `feature bits 0x${extra.toString(16)} were not offered`);
  done({});
};

const setBackendReqFd: Handler = (session, message, done) => {
  const [fd] = message.fds;
  if (fd === undefined || message.fds.length > 1)
    throw new ProtocolError('SET_BACKEND_REQ_FD', `${message.fds.length} descriptors, one belongs to it`);
  if (!fstatSync(fd).isSocket()) throw new ProtocolError('SET_BACKEND_REQ_FD', 'a socket belongs to it');
  session.setBackendSocket(new UnixSocket(fd));
  message.fds.length = 0;
  done({});
};

/** "back-end's payload size MUST match the front-end's request": what lies beyond our space reads as zeroes. */
const getConfig: Handler = (session, message, done) => {
  const { offset, size } = decodeConfig(message);
  const bytes = new Uint8Array(size);
  bytes.set(session.device.config.subarray(offset, offset + size));
  done({ reply: encodeConfig(offset, bytes) });
};

const setConfig: Handler = (session, message, done) => {
  const { offset, bytes } = decodeConfig(message);
  const accepted = session.host.writeConfig(offset, bytes);
  if (!accepted) session.log(`SET_CONFIG: ${bytes.length} bytes at ${offset} of the configuration space are read-only`);
  done({ ack: accepted ? 0n : 1n });
};

const setStatus: Handler = (session, message, done) => {
  const status = Number(u64Of(message) & 0xffn);
  const finish = (): void => {
    session.status = status;
    done({});
  };
  // §2.1.2: writing 0 resets the device.
  if (status === 0) session.reset(finish);
  else finish();
};

export const deviceMessages: { readonly [request: number]: Handler } = {
  [Request.GET_FEATURES]: withoutPayload((session, _message, done) =>
    done({ reply: encodeU64(session.offeredFeatures) }),
  ),
  [Request.SET_FEATURES]: setFeatures,
  [Request.GET_PROTOCOL_FEATURES]: withoutPayload((_session, _message, done) =>
    done({ reply: encodeU64(PROTOCOL_FEATURES) }),
  ),
  [Request.SET_PROTOCOL_FEATURES]: setProtocolFeatures,
  [Request.GET_QUEUE_NUM]: withoutPayload((session, _message, done) =>
    done({ reply: encodeU64(BigInt(session.vrings.length)) }),
  ),
  [Request.SET_OWNER]: withoutPayload((_session, _message, done) => done({})),
  // "it is recommended that back-ends either ignore this message, or use it to disable all rings"
  [Request.RESET_OWNER]: withoutPayload((session, _message, done) => session.stopAll(() => done({}))),
  [Request.SET_BACKEND_REQ_FD]: withoutPayload(setBackendReqFd),
  [Request.GET_CONFIG]: getConfig,
  [Request.SET_CONFIG]: setConfig,
  [Request.RESET_DEVICE]: withoutPayload((session, _message, done) => session.reset(() => done({}))),
  [Request.SET_STATUS]: setStatus,
  [Request.GET_STATUS]: withoutPayload((session, _message, done) => done({ reply: encodeU64(BigInt(session.status)) })),
};
