// virtio-vsock: the credit of one connection, both ways: who may send how many bytes. §5.10.6.3. All counts wrap at 2^32.

/** Bytes of the guest that may wait at the host's end, by connection: the first ones get more. */
export const BUFFER_BYTES_MAX = 256 * 1024;
export const BUFFER_BYTES_MIN = 16 * 1024;

/** Bytes in flight at most: half of the numbers, so that a fwd_cnt is either newer or older than another one. */
export const IN_FLIGHT_MAX = 0x7fff_ffff;

/** What both sides have sent and taken. */
export class Credit {
  /** How much the guest may send that was not taken. */
  readonly bufAlloc: number;
  /** Bytes of the guest that were taken. */
  fwdCnt = 0;
  /** Bytes of the guest that arrived. */
  #received = 0;
  /** `fwdCnt` in the last packet for the guest. */
  #told = 0;
  #peerBufAlloc = 0;
  #peerFwdCnt = 0;
  /** Bytes sent to the guest. */
  #sent = 0;

  constructor(bufAlloc: number) {
    this.bufAlloc = bufAlloc;
  }

  /** Takes the two words of a packet of the guest. Returns false where it has taken more than it was sent. */
  heard(bufAlloc: number, fwdCnt: number): boolean {
    this.#peerBufAlloc = Math.min(bufAlloc, IN_FLIGHT_MAX);
    const step = (fwdCnt - this.#peerFwdCnt) | 0;
    // Linux may queue a packet with an older count behind one with a newer.
    if (step < 0) return true;
    if (step > this.inFlight) return false;
    this.#peerFwdCnt = fwdCnt;
    return true;
  }

  /** Bytes that the guest has not taken. */
  get inFlight(): number {
    return (this.#sent - this.#peerFwdCnt) >>> 0;
  }

  /** How many bytes the guest has room for. */
  get room(): number {
    return Math.max(0, this.#peerBufAlloc - this.inFlight);
  }

  /** Bytes go to the guest. */
  sent(count: number): void {
    this.#sent = (this.#sent + count) >>> 0;
  }

  /** Bytes of the guest arrive. Returns false where it was not allowed that many. */
  received(count: number): boolean {
    const waiting = (this.#received - this.fwdCnt) >>> 0;
    if (waiting + count > this.bufAlloc) return false;
    this.#received = (this.#received + count) >>> 0;
    return true;
  }

  /** Bytes of the guest were taken. */
  taken(count: number): void {
    this.fwdCnt = (this.fwdCnt + count) >>> 0;
  }

  /** A packet with both counts is sent. */
  told(): void {
    this.#told = this.fwdCnt;
  }

  /** Whether the guest should be sent an update: it believes that half of the buffer is full which is not. */
  get isUpdateDue(): boolean {
    return (this.fwdCnt - this.#told) >>> 0 >= this.bufAlloc / 2;
  }
}
