// vhost-user/back-end: the messages about rings. They may come in any order, before the ring runs and while it does.
import { EventFd } from '../../../sys/event-fd.ts';
import { ringFormatOf } from '../../../virtio/negotiated-format.ts';
import { encodeVringState, expectPayload, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { Request, requestName, VRING_INDEX_MASK, VRING_NOFD } from '../protocol/spec.ts';
import type { Handler, Session } from './session.ts';
import type { Vring } from './vring.ts';

/** The change that a message makes to a ring. */
interface VringChange {
  readonly index: number;
  apply(): void;
}

/** Decodes struct vhost_vring_state, or vhost_vring_addr, whose first word is the index too. */
function ringOf(
  session: Session,
  message: Message,
  payloadBytes: number,
): { index: number; num: number; vring: Vring } {
  expectPayload(message, payloadBytes);
  const index = message.payload.getUint32(0, true);
  return { index, num: message.payload.getUint32(4, true), vring: session.vring(message, index) };
}

/**
 * Decodes the ring and the descriptor of SET_VRING_KICK, _CALL or _ERR; `notifier` is null if the message has
 * VRING_NOFD.
 */
function notifierOf(session: Session, message: Message): { index: number; vring: Vring; notifier: EventFd | null } {
  expectPayload(message, 8);
  const name = requestName(message.request);
  const word = message.payload.getUint32(0, true);
  const index = word & VRING_INDEX_MASK;
  const vring = session.vring(message, index);
  if ((word & VRING_NOFD) !== 0) return { index, vring, notifier: null };
  const [fd] = message.fds;
  if (fd === undefined || message.fds.length > 1)
    throw new ProtocolError(name, `${message.fds.length} descriptors, one belongs to it`);
  try {
    // Reading a socket, or writing a pipe, can block this thread for as long as the other end likes.
    const isCall = message.request === Request.SET_VRING_CALL;
    const notifier = EventFd.adopt(fd, isCall ? ['eventfd', 'socket'] : ['eventfd']);
    message.fds.length = 0;
    return { index, vring, notifier };
  } catch (error) {
    throw new ProtocolError(name, `an eventfd belongs to it: ${(error as Error).message}`);
  }
}

function setNum(session: Session, message: Message): VringChange {
  const { index, num, vring } = ringOf(session, message, 8);
  const most = session.host.device.queueSizes[index] as number;
  if (num > most || !ringFormatOf(session.features).isSize(num))
    throw new ProtocolError('SET_VRING_NUM', `a queue of ${num}; its size is a power of two up to ${most}`);
  return {
    index,
    apply: () => {
      vring.size = num;
    },
  };
}

function setBase(session: Session, message: Message): VringChange {
  const { index, num, vring } = ringOf(session, message, 8);
  if (!ringFormatOf(session.features).isBase(num))
    throw new ProtocolError('SET_VRING_BASE', `a ring cannot go on from ${num}`);
  return {
    index,
    apply: () => {
      vring.base = num;
    },
  };
}

/** struct vhost_vring_addr { u32 index, flags; u64 descriptor, used, available, log }. */
function setAddresses(session: Session, message: Message): VringChange {
  const { index, vring } = ringOf(session, message, 40);
  const field = (at: number): number => Number(message.payload.getBigUint64(at, true));
  const areas = { descriptorArea: field(8), deviceArea: field(16), driverArea: field(24) };
  return {
    index,
    apply: () => {
      vring.areas = areas;
    },
  };
}

function setKick(session: Session, message: Message): VringChange {
  const { index, vring, notifier } = notifierOf(session, message);
  return { index, apply: () => vring.setKick(notifier) };
}

function setErr(session: Session, message: Message): VringChange {
  const { index, vring, notifier } = notifierOf(session, message);
  return { index, apply: () => vring.setErr(notifier ?? undefined) };
}

function setEnable(session: Session, message: Message): VringChange {
  const { index, num, vring } = ringOf(session, message, 8);
  if (num > 1) throw new ProtocolError('SET_VRING_ENABLE', `${num} is neither 0 nor 1`);
  return {
    index,
    apply: () => {
      vring.enabled = num === 1;
    },
  };
}

/** The handler of a message that changes a ring: stops the ring if it runs, changes it, starts it if it is complete. */
function changing(decode: (session: Session, message: Message) => VringChange): Handler {
  return async (session, message) => {
    const { index, apply } = decode(session, message);
    await session.change(index, apply);
    return undefined;
  };
}

const setCall: Handler = async (session, message) => {
  const { index, vring, notifier } = notifierOf(session, message);
  // The old descriptor must not be closed, and its number reused, while the queue's thread may still signal it.
  if (vring.running) await session.host.setCall(index, notifier === null ? undefined : { fd: notifier.fd });
  vring.setCall(notifier ?? undefined);
  return undefined;
};

/** "stop ring upon receiving VHOST_USER_GET_VRING_BASE": it starts again with the next SET_VRING_KICK. */
const getBase: Handler = async (session, message) => {
  const { index, vring } = ringOf(session, message, 8);
  await session.stop(index);
  vring.setKick(undefined);
  const base = vring.base ?? ringFormatOf(session.features).firstBase;
  return { reply: encodeVringState(index, base) };
};

export const vringMessages: { readonly [request: number]: Handler } = {
  [Request.SET_VRING_NUM]: changing(setNum),
  [Request.SET_VRING_BASE]: changing(setBase),
  [Request.SET_VRING_ADDR]: changing(setAddresses),
  [Request.SET_VRING_KICK]: changing(setKick),
  [Request.SET_VRING_CALL]: setCall,
  [Request.SET_VRING_ERR]: changing(setErr),
  [Request.SET_VRING_ENABLE]: changing(setEnable),
  [Request.GET_VRING_BASE]: getBase,
};
