// daemon: opens a console and what its ports lead to, on its thread.
import { ConsoleDevice, type ConsoleDeviceOptions } from '../devices/console/console-device.ts';
import type { ConsoleSize } from '../devices/console/console-size.ts';
import type { Log } from '../virtio/log.ts';
import { type ConsolePlace, type OpenPlace, openPlace } from './console-place.ts';
import type { OpenDevice } from './open-device.ts';

/** A console as a plain value. */
export interface ServedConsole {
  readonly kind: 'console';
  /** Its name in the log. */
  readonly name: string;
  /** Where /dev/hvc0 leads. Absent: there is none. */
  readonly console?: ConsolePlace;
  /** Shared memory: columns and rows of its window, read again by `refresh`. Absent without a window. */
  readonly window?: Uint16Array<SharedArrayBuffer>;
  /** Serial ports, by the guest's name for them. */
  readonly ports: readonly { readonly name: string; readonly place: ConsolePlace }[];
}

/** Opens the console. Its thread has to run Node's loop. */
export function openConsole(served: ServedConsole, log: Log): OpenDevice {
  const { name, console, window, ports } = served;
  const size = (): ConsoleSize => ({ cols: window?.[0] ?? 0, rows: window?.[1] ?? 0 });
  const first = console && openPlace(console, log);
  const options: ConsoleDeviceOptions = { ...first?.end, ...(window && { size: size() }) };
  const isPlain = ports.length === 0 && first !== undefined;
  const device = new ConsoleDevice(isPlain ? options : { ...options, maxPorts: 1 + ports.length });
  const places = [...(first ? [first] : []), ...ports.map((port) => addPort(device, port, log))];
  return {
    device,
    profile: { name, type: device.type, queues: device.queueSizes.length },
    bytes: () => ({ read: sumOf(places, 'read'), written: sumOf(places, 'written') }),
    refresh: () => {
      if (window !== undefined) device.resize(size());
      return undefined;
    },
    close: async () => {
      await device.close();
      await Promise.all(places.map((place) => place.close()));
    },
  };
}

function addPort(
  device: ConsoleDevice,
  { name, place }: { readonly name: string; readonly place: ConsolePlace },
  log: Log,
): OpenPlace {
  const opened = openPlace(place, log);
  const { end, visits } = opened;
  const port = device.addPort({ name, ...end, ...(visits && { isOpen: visits.isOpen }) });
  if (visits !== undefined) visits.onOpen = (isOpen) => port.setOpen(isOpen);
  return opened;
}

function sumOf(places: readonly OpenPlace[], what: 'read' | 'written'): number {
  return places.reduce((sum, place) => sum + place.bytes()[what], 0);
}
