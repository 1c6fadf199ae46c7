// testing: a payload in the file format of a Linux kernel.
import type { Payload } from './payload.ts';

/** The origin that a payload for these files needs. */
export const KERNEL_ORIGIN = 0x20_0000;
const ENTRY_64 = 0x200;

/** Returns an ELF file of one segment, whose entry is the payload's first instruction. */
export function elfKernel(payload: Payload): Uint8Array<ArrayBuffer> {
  const code = payload.bytes;
  const codeOffset = 0x1000;
  const bytes = new Uint8Array(codeOffset + code.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 62, true); // EM_X86_64
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(payload.origin), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setBigUint64(64 + 8, BigInt(codeOffset), true);
  view.setBigUint64(64 + 16, BigInt(payload.origin), true);
  view.setBigUint64(64 + 24, BigInt(payload.origin), true);
  view.setBigUint64(64 + 32, BigInt(code.length), true);
  view.setBigUint64(64 + 40, BigInt(code.length), true);
  bytes.set(code, codeOffset);
  return bytes;
}

/** Returns a bzImage of boot protocol 2.15 with one setup sector, whose entry is the payload's first instruction. */
export function bzImageKernel(payload: Payload): Uint8Array<ArrayBuffer> {
  const loadAddress = payload.origin - ENTRY_64;
  const code = payload.bytes;
  const bytes = new Uint8Array(1024 + ENTRY_64 + code.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, 1);
  view.setUint16(0x1fe, 0xaa55, true);
  bytes.set([0xeb, 0x6a], 0x200);
  view.setUint32(0x202, 0x5372_6448, true);
  view.setUint16(0x206, 0x20f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint8(0x234, 1);
  view.setUint16(0x236, 1, true);
  view.setUint32(0x238, 2047, true);
  view.setBigUint64(0x258, BigInt(loadAddress), true);
  view.setUint32(0x260, 0x10_0000, true);
  bytes.set(code, 1024 + ENTRY_64);
  return bytes;
}
