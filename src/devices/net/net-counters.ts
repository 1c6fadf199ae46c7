// virtio-net: the counters of a network card. Plain numbers.

/** What a network card has moved and dropped so far. "Sent" is from the guest, "received" is for it. */
export interface NetCounters {
  sentFrames: number;
  sentBytes: number;
  receivedFrames: number;
  receivedBytes: number;
  /** Frames of the guest that broke a rule: too short or long, a header that does not fit or was not negotiated. */
  droppedMalformed: number;
  /** Frames for the guest that waited too long for its buffers, or found no room to wait. */
  droppedNoBuffer: number;
  /** Frames for the guest that its filters exclude. */
  droppedFiltered: number;
  /** Frames for the guest that it cannot take: longer than the MTU, or with an offload that it did not accept. */
  droppedUnsuitable: number;
  /** Frames of the guest that the port could not send. */
  droppedPort: number;
  /** Frames in either direction while the link was down, or for a guest whose driver does not run. */
  droppedDown: number;
}

export function newNetCounters(): NetCounters {
  return {
    sentFrames: 0,
    sentBytes: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    droppedMalformed: 0,
    droppedNoBuffer: 0,
    droppedFiltered: 0,
    droppedUnsuitable: 0,
    droppedPort: 0,
    droppedDown: 0,
  };
}

/** All frames that the card dropped. */
export function droppedFrames(counters: NetCounters): number {
  const { droppedMalformed, droppedNoBuffer, droppedFiltered, droppedUnsuitable, droppedPort, droppedDown } = counters;
  return droppedMalformed + droppedNoBuffer + droppedFiltered + droppedUnsuitable + droppedPort + droppedDown;
}
