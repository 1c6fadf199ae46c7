// testing: chains that are allowed but rare: without bytes, without room, in many pieces.
import type { ChainPieces } from './chain-driver.ts';

/** Descriptors of a chain in an indirect table: more than the ring has. */
const PIECES_MAX = 32;

type Pieces = (request: ChainPieces) => ChainPieces;

/** Odd chains that every device must complete, made from a normal one. */
export const oddChains: { readonly [what: string]: Pieces } = {
  'a chain of no bytes': () => ({ readable: [new Uint8Array()] }),
  'a chain with room for no bytes': () => ({ writable: [0] }),
  'a chain with bytes to read only': () => ({ readable: [new Uint8Array(64).fill(0xff)] }),
  'a chain with room to write only': () => ({ writable: [64] }),
  'a chain of one byte each way': () => ({ readable: [Uint8Array.of(0xff)], writable: [1] }),
};

/** The same request in other framings: §2.7.4, no device may assume how a driver cuts its buffers. */
export const otherFramings: { readonly [what: string]: Pieces } = {
  'in an indirect table': (request) => ({ ...request, indirectFrom: 0 }),
  'in more pieces than the ring has descriptors': ({ readable = [], writable = [] }) => {
    const empty = Array.from({ length: PIECES_MAX - readable.length - writable.length }, () => new Uint8Array());
    return readable.length > 0
      ? { readable: [...readable, ...empty], writable, indirectFrom: 0 }
      : { writable: [...writable, ...empty], indirectFrom: 0 };
  },
  'cut at every byte, as far as a table reaches': ({ readable = [], writable = [] }) => ({
    readable: readable.flatMap((bytes) => cutUp(bytes)),
    writable: writable.flatMap((piece) => cutUp(typeof piece === 'number' ? new Uint8Array(piece).fill(0xee) : piece)),
    indirectFrom: 0,
  }),
};

/** Cuts into pieces of one byte, and a rest: a request has about three pieces, which share the table. */
function cutUp(bytes: Uint8Array): Uint8Array[] {
  const single = Math.min(bytes.length, PIECES_MAX / 4 - 1);
  const pieces = Array.from({ length: single }, (_, i) => bytes.subarray(i, i + 1));
  return single < bytes.length ? [...pieces, bytes.subarray(single)] : pieces;
}
