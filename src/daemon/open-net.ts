// daemon: opens a network card and its port on their thread.
import type { FrameRate } from '../devices/net/frame-limit.ts';
import { NetDevice } from '../devices/net/net-device.ts';
import type { NetPort } from '../devices/net/net-port.ts';
import { formatPort, openPort, type PortDescription } from '../ports/open-port.ts';
import { type RecordFramesOptions, recordFrames } from '../ports/record-frames.ts';
import type { OpenDevice } from './open-device.ts';

/** A network card as a plain value. */
export interface NetSource {
  readonly kind: 'net';
  readonly port: PortDescription;
  /** `52:54:00:12:34:56`. */
  readonly mac: string;
  readonly mtu?: number;
  readonly sendLimit?: FrameRate | undefined;
  readonly receiveLimit?: FrameRate | undefined;
  /** Where its frames are recorded. */
  readonly recording?: RecordFramesOptions;
}

/** Opens the port and the card. Throws SystemError for a port that cannot be opened, RangeError for an option. */
export function openNet({ port: description, mac, mtu, recording, ...limits }: NetSource): OpenDevice {
  const name = formatPort(description);
  let port: NetPort = openPort(description);
  let device: NetDevice;
  try {
    if (recording !== undefined) port = recordFrames(port, recording);
    device = new NetDevice({ port, mac, ...(mtu !== undefined && { mtu }), ...limits });
  } catch (error) {
    void port.close?.();
    throw error;
  }
  return {
    device,
    profile: { name: `${name} as ${mac}`, type: device.type, queues: device.queueSizes.length },
    bytes: () => {
      const { receivedBytes: read, sentBytes: written } = device.counters;
      return { read, written, droppedFrames: device.droppedFrames };
    },
    refresh: () => undefined,
    close: () => device.close(),
  };
}
