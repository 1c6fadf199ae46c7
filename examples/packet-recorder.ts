// Records what a guest's network card sends and receives, for Wireshark: a port around another port.
//   PORT=listen:/tmp/cable.sock PCAP=/tmp/guest.pcap ./belfry serve ./examples/packet-recorder.ts --socket /tmp/net.sock
import { openSync, writeSync } from 'node:fs';
import { NetDevice, type NetPort, openPort, parsePort } from 'belfry';

/** Passes every frame on, and appends it to `file`. It has no offloads, so frames have their checksums. */
export function recorded(next: NetPort, file: string): NetPort {
  const fd = openSync(file, 'w');
  const words = (...numbers: number[]): unknown => writeSync(fd, Uint32Array.from(numbers));
  words(0xa1b23c4d, 0x0004_0002, 0, 0, 0x4_0000, 1); // pcap, version 2.4, times in nanoseconds, Ethernet
  const record = (frame: Uint8Array): void => {
    const nowMs = performance.timeOrigin + performance.now();
    words(nowMs / 1000, (nowMs % 1000) * 1e6, frame.length, frame.length);
    writeSync(fd, frame);
  };
  const port: NetPort = {
    send(frame, header) {
      record(frame);
      return next.send(frame, header);
    },
    attach(context) {
      next.onFrame = (frame, header) => {
        record(frame);
        return port.onFrame?.(frame, header) ?? true;
      };
      next.onLink = (isUp) => port.onLink?.(isUp);
      next.attach?.(context);
    },
    resume: () => next.resume?.(),
    close: () => next.close?.(),
  };
  return port;
}

export default function recorder({ PORT = '', PCAP = '' } = process.env): NetDevice {
  return new NetDevice({ port: recorded(openPort(parsePort(PORT)), PCAP) });
}
