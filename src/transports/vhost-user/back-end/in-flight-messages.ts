// vhost-user/back-end: the messages about the record of requests in flight (INFLIGHT_SHMFD).
import { createMemfd } from '../../../sys/memfd.ts';
import { decodeInflight, encodeInflight, type InflightMessage, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { Request, requestName } from '../protocol/spec.ts';
import { inFlightFileBytes } from './in-flight-file.ts';
import type { Handler, Session } from './session.ts';

/** Throws ProtocolError where the message asks for more queues, or larger ones, than the device has. */
function inflightOf(session: Session, message: Message): InflightMessage {
  const name = requestName(message.request);
  const decoded = decodeInflight(message.payload);
  if (decoded === undefined)
    throw new ProtocolError(name, `${message.payload.byteLength} bytes of payload, 24 belong to it`);
  const { queues, queueSize } = decoded;
  const most = Math.max(...session.host.device.queueSizes);
  if (queues === 0 || queues > session.vrings.length || queueSize === 0 || queueSize > most)
    throw new ProtocolError(
      name,
      `${queues} queues of ${queueSize}; there are ${session.vrings.length}, of up to ${most}`,
    );
  return decoded;
}

/** "the back-end … should … allocate": a new file, whose descriptor is sent and closed. */
const getInflight: Handler = (session, message) => {
  const { queues, queueSize } = inflightOf(session, message);
  const mmapSize = inFlightFileBytes(queues, queueSize, session.features);
  const replyFd = createMemfd('belfry-inflight', mmapSize);
  return { reply: encodeInflight({ mmapSize, mmapOffset: 0, queues, queueSize }), replyFd };
};

const setInflight: Handler = async (session, message) => {
  const inflight = inflightOf(session, message);
  const [fd] = message.fds;
  if (fd === undefined || message.fds.length > 1)
    throw new ProtocolError('SET_INFLIGHT_FD', `${message.fds.length} descriptors, one belongs to it`);
  await session.changeInFlight(() => {
    session.inFlight.set(inflight, fd, session.features);
    message.fds.length = 0;
  });
  return undefined;
};

export const inFlightMessages: { readonly [request: number]: Handler } = {
  [Request.GET_INFLIGHT_FD]: getInflight,
  [Request.SET_INFLIGHT_FD]: setInflight,
};
