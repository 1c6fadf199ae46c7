// vhost-user/back-end: the messages about guest memory.
import { decodeRegion, encodeU64, expectPayload, type Message, REGION_BYTES } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { MEM_SLOTS_MAX, MEM_TABLE_REGIONS_MAX, Request, requestName } from '../protocol/spec.ts';
import { DirtyLogFile } from './dirty-log-file.ts';
import type { Handler, Session } from './session.ts';

/** Adds a region with the next descriptor of its message. When it throws, the message keeps that descriptor. */
function addRegion(session: Session, message: Message, at: number): void {
  session.regions.add(requestName(message.request), decodeRegion(message, at), message.fds[0] as number);
  message.fds.shift();
}

/** { u32 regions; u32 padding; region[] }, a descriptor a region. */
const setMemTable: Handler = async (session, message) => {
  const { payload, fds } = message;
  const count = payload.byteLength < 8 ? 0 : payload.getUint32(0, true);
  if (count > MEM_TABLE_REGIONS_MAX)
    throw new ProtocolError('SET_MEM_TABLE', `${count} regions, the most is ${MEM_TABLE_REGIONS_MAX}`);
  // QEMU's payload has as many regions as it counts, others send their whole table: User-Mode Linux always sends two.
  const room = (payload.byteLength - 8) / REGION_BYTES;
  if (!Number.isInteger(room) || room < count || room > MEM_TABLE_REGIONS_MAX)
    throw new ProtocolError('SET_MEM_TABLE', `${payload.byteLength} bytes of payload for ${count} regions`);
  if (fds.length !== count) throw new ProtocolError('SET_MEM_TABLE', `${fds.length} descriptors for ${count} regions`);
  await session.changeMemory(message, () => {
    session.regions.clear();
    for (let i = 0; i < count; i++) addRegion(session, message, 8 + i * REGION_BYTES);
  });
  return undefined;
};

const getMaxMemSlots: Handler = (_session, message) => {
  expectPayload(message, 0);
  return { reply: encodeU64(BigInt(MEM_SLOTS_MAX)) };
};

/** { u64 padding; region }. */
const addMemReg: Handler = async (session, message) => {
  expectPayload(message, 8 + REGION_BYTES);
  const { fds } = message;
  if (fds.length !== 1) throw new ProtocolError('ADD_MEM_REG', `${fds.length} descriptors, one belongs to it`);
  await session.addMemory(message, () => addRegion(session, message, 8));
  return undefined;
};

/**
 * "For compatibility with existing incorrect implementations, the back-end MAY accept messages with one file
 * descriptor."
 */
const remMemReg: Handler = async (session, message) => {
  expectPayload(message, 8 + REGION_BYTES);
  await session.changeMemory(message, () => session.regions.remove('REM_MEM_REG', decodeRegion(message, 8)));
  return undefined;
};

/** With LOG_SHMFD it has a reply, whose value nobody reads. */
const setLogBase: Handler = async (session, message) => {
  await session.changeDirtyLog(new DirtyLogFile(message));
  return { reply: encodeU64(0n) };
};

export const memoryMessages: { readonly [request: number]: Handler } = {
  [Request.SET_MEM_TABLE]: setMemTable,
  [Request.SET_LOG_BASE]: setLogBase,
  [Request.GET_MAX_MEM_SLOTS]: getMaxMemSlots,
  [Request.ADD_MEM_REG]: addMemReg,
  [Request.REM_MEM_REG]: remMemReg,
};
