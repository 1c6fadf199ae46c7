// vmm: puts a device of this process into a slot of its machine.
import { LimitedLog } from '../sys/limited-log.ts';
import type { Transport } from '../transports/bus/transport.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { Log } from '../virtio/log.ts';
import type { Machine } from './machine.ts';
import type { VirtioSlots } from './virtio-slots.ts';

/** What a device needs of its machine. */
export interface DeviceEnvironment {
  readonly machine: Machine;
  readonly slots: VirtioSlots;
  /** Takes each log line. */
  readonly log: Log;
}

/** Puts `device` into a slot, before the machine boots. @param name begins its log lines. */
export async function plugDevice(
  device: VirtioDevice,
  name: string,
  { machine, slots, log }: DeviceEnvironment,
): Promise<Transport> {
  const lines = new LimitedLog((line) => log(`${name}: ${line}`));
  machine.closeAtEnd({ close: () => lines.flush() });
  const host = new LocalHost(device, machine.loop, { log: lines.log });
  await host.setMemory(machine.ram.regions());
  machine.closeAtEnd({ close: () => host.setMemory([]) });
  return slots.plug({ host, log: lines.log });
}
