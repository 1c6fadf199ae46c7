// ports: a file that is written behind: bytes are collected in pieces, which a thread of their own writes. Nothing waits.
import { closeSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { constants as os } from 'node:os';
import type { PortContext } from '../devices/net/net-port.ts';
import { errnoError, SystemError } from '../sys/libc.ts';
import { ThreadRing } from '../sys/thread-ring.ts';

const PIECE_BYTES = 256 * 1024;
/** All pieces together are what is kept for a disk that is slow. */
const PIECES = 16;
/** Bytes reach the file after so much time, though a piece is not full. */
const FLUSH_MS = 200;

/** A piece of the file in memory. */
interface Piece {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
}

/** A regular file that grows at its end. Use it on one thread. */
export class BehindWriter {
  readonly #name: string;
  readonly #fd: number;
  readonly #ring: ThreadRing;
  readonly #free: Piece[] = [];
  #made = 0;
  #filling: Piece | undefined;
  #filled = 0;
  /** Where the filling piece goes. */
  #offset = 0;
  #problem: SystemError | undefined;
  /** Where a write failed. */
  #endOffset = Number.POSITIVE_INFINITY;
  #context: PortContext | undefined;
  #timer: Disposable | undefined;
  #watch: Disposable | undefined;

  /** Makes the file, or empties it. Throws an error of node:fs; SystemError where it is no regular file. */
  constructor(name: string) {
    this.#name = name;
    this.#fd = openSync(name, 'w');
    if (!fstatSync(this.#fd).isFile()) {
      closeSync(this.#fd);
      throw new SystemError('open', 'EINVAL', `${name} is not a regular file`);
    }
    this.#ring = new ThreadRing({ entries: PIECES, threads: 1 });
  }

  /** Without a context it writes full pieces, and the rest when it is closed. */
  attach(context: PortContext): void {
    this.#context = context;
    this.#watch = context.watch(this.#ring.fd, { readable: this.#reap });
  }

  /**
   * Appends what `write` puts at its offset of a view, at most `most` bytes, up to 128 KiB. Returns false where there is no
   * memory for it, or a write has failed: then nothing is appended.
   */
  append(most: number, write: (view: DataView, at: number) => number): boolean {
    if (this.#problem !== undefined) return false;
    if (this.#filling !== undefined && this.#filled + most > PIECE_BYTES) this.#write();
    this.#filling ??= this.#piece();
    if (this.#filling === undefined) return false;
    this.#filled = write(this.#filling.view, this.#filled);
    this.#timer ??= this.#context?.timer(FLUSH_MS, () => {
      this.#timer = undefined;
      this.#write();
    });
    return true;
  }

  #piece(): Piece | undefined {
    if (this.#free.length > 0 || this.#made === PIECES) return this.#free.pop();
    this.#made++;
    const bytes = new Uint8Array(PIECE_BYTES);
    return { bytes, view: new DataView(bytes.buffer) };
  }

  /** Has the thread write the piece that is being filled. */
  #write(): void {
    const piece = this.#filling;
    if (piece === undefined) return;
    // After a failure nothing is written any more: it would stand behind a hole.
    if (this.#problem !== undefined) this.#free.push(piece);
    else this.#put(piece, piece.bytes.subarray(0, this.#filled), this.#offset);
    this.#offset += this.#filled;
    this.#filling = undefined;
    this.#filled = 0;
  }

  #put(piece: Piece, bytes: Uint8Array<ArrayBuffer>, offset: number): void {
    const completed = (result: number): void => {
      if (result <= 0) this.#failed(errnoError('pwritev', result === 0 ? os.errno.ENOSPC : -result), offset);
      else if (result < bytes.length) return this.#put(piece, bytes.subarray(result), offset + result);
      this.#free.push(piece);
    };
    this.#ring.write(this.#fd, bytes, offset, { completed });
    this.#ring.submit();
  }

  /** Pieces behind this offset may be on their way already: `close` cuts the file there. */
  #failed(error: SystemError, offset: number): void {
    if (this.#problem === undefined) this.#context?.log(`${this.#name} ends here: ${error.message}`);
    this.#problem ??= error;
    this.#endOffset = Math.min(this.#endOffset, offset);
  }

  readonly #reap = (): void => {
    this.#ring.woken();
    this.#ring.reap();
  };

  /** Writes what there is and `last`, waits for that, and closes the file. */
  close(last: Uint8Array): void {
    this.#watch?.[Symbol.dispose]();
    this.#drain();
    // The context may be gone: no timer is started any more.
    this.#context = undefined;
    this.append(last.length, (view, at) => {
      new Uint8Array(view.buffer).set(last, at);
      return at + last.length;
    });
    this.#drain();
    this.#ring[Symbol.dispose]();
    if (this.#problem !== undefined) ftruncateSync(this.#fd, this.#endOffset);
    closeSync(this.#fd);
  }

  #drain(): void {
    this.#write();
    while (this.#ring.inFlight > 0) {
      this.#ring.submit(1);
      this.#ring.reap();
    }
  }
}
