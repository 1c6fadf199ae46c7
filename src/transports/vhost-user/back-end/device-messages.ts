// vhost-user/back-end: the messages about the device as a whole: features, configuration space, status, reset.
import { UnixSocket } from '../../../sys/unix-socket.ts';
import type { Outcome } from '../protocol/connection.ts';
import { decodeConfig, encodeConfig, encodeU64, expectPayload, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { Request } from '../protocol/spec.ts';
import { type Handler, PROTOCOL_FEATURES } from './session.ts';

function u64Of(message: Message): bigint {
  expectPayload(message, 8);
  return message.payload.getBigUint64(0, true);
}

function withoutPayload(handler: Handler): Handler {
  return (session, message) => {
    expectPayload(message, 0);
    return handler(session, message);
  };
}

const reply = (value: bigint): Outcome => ({ reply: encodeU64(value) });

const setFeatures: Handler = async (session, message) => {
  await session.acceptFeatures(u64Of(message));
  return undefined;
};

const setProtocolFeatures: Handler = (_session, message) => {
  const extra = u64Of(message) & ~PROTOCOL_FEATURES;
  if (extra === 0n) return undefined;
  throw new ProtocolError('SET_PROTOCOL_FEATURES', `feature bits 0x${extra.toString(16)} were not offered`);
};

const setBackendReqFd: Handler = (session, message) => {
  const [fd] = message.fds;
  if (fd === undefined || message.fds.length > 1)
    throw new ProtocolError('SET_BACKEND_REQ_FD', `${message.fds.length} descriptors, one belongs to it`);
  try {
    session.setBackendSocket(UnixSocket.adopt(fd));
  } catch (error) {
    throw new ProtocolError('SET_BACKEND_REQ_FD', `a socket belongs to it: ${(error as Error).message}`);
  }
  message.fds.length = 0;
  return undefined;
};

/**
 * "back-end's payload size MUST match the front-end's request": bytes beyond the configuration space read as zeroes.
 */
const getConfig: Handler = (session, message) => {
  const { offset, size } = decodeConfig(message);
  return { reply: encodeConfig(offset, session.config.read(offset, size)) };
};

const setConfig: Handler = async (session, message) => {
  const { offset, bytes } = decodeConfig(message);
  const isAccepted = await session.config.write(session.host, offset, bytes);
  if (!isAccepted)
    session.log(`SET_CONFIG: ${bytes.length} bytes at ${offset} of the configuration space are read-only`, {
      event: 'refused',
    });
  return { ack: isAccepted ? 0n : 1n };
};

const setStatus: Handler = async (session, message) => {
  await session.setStatus(Number(u64Of(message) & 0xffn));
  return undefined;
};

const whenDone =
  (step: (session: Parameters<Handler>[0]) => Promise<void>): Handler =>
  async (session) => {
    await step(session);
    return undefined;
  };

export const deviceMessages: { readonly [request: number]: Handler } = {
  [Request.GET_FEATURES]: withoutPayload((session) => reply(session.offeredFeatures)),
  [Request.SET_FEATURES]: setFeatures,
  [Request.GET_PROTOCOL_FEATURES]: withoutPayload(() => reply(PROTOCOL_FEATURES)),
  [Request.SET_PROTOCOL_FEATURES]: setProtocolFeatures,
  [Request.GET_QUEUE_NUM]: withoutPayload((session) => reply(BigInt(session.vrings.length))),
  // "It can be used on the back-end as a session start flag."
  [Request.SET_OWNER]: withoutPayload(whenDone((session) => session.begin())),
  // "it is recommended that back-ends either ignore this message, or use it to disable all rings"
  [Request.RESET_OWNER]: withoutPayload(whenDone((session) => session.stopAll())),
  [Request.SET_BACKEND_REQ_FD]: withoutPayload(setBackendReqFd),
  [Request.GET_CONFIG]: getConfig,
  [Request.SET_CONFIG]: setConfig,
  [Request.RESET_DEVICE]: withoutPayload(whenDone((session) => session.reset())),
  [Request.SET_STATUS]: setStatus,
  [Request.GET_STATUS]: withoutPayload((session) => reply(BigInt(session.status))),
};
