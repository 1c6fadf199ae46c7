// bench: what every disk that is measured has, and the content that it is filled with.
import { statfsSync } from 'node:fs';

const CHUNK_BYTES = 4 << 20;

/** The images that are served, and the folder of the sockets. */
export interface MeasuredDisk extends Disposable {
  readonly folder: string;
  /** Of the same size and content: one for all back ends, or two where each back end locks its own. */
  readonly paths: readonly string[];
  readonly sizeBytes: number;
  readonly readOnly: boolean;
}

/** Bytes that are not zero, and that a compressing file system does not make small. */
export function filler(): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(CHUNK_BYTES / 4);
  for (let i = 0, word = 1; i < words.length; i++, word = Math.imul(word, 0x9e3779b1) + 1) words[i] = word;
  return new Uint8Array(words.buffer);
}

/** Throws RangeError where `folder` has no room for `sizeBytes`. */
export function checkRoom(folder: string, sizeBytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= sizeBytes) return;
  throw new RangeError(`${folder} has ${bavail * bsize} bytes left, the disk takes ${sizeBytes}: use a smaller --size`);
}
