// vmm: a device with 8-bit registers on a wider bus: an access of several bytes is split into bytes, as on the
// real bus.
import type { Registers } from '../transports/bus/registers.ts';

/** As `Registers`, a byte at a time. */
export interface ByteRegisters {
  read(offset: number): number;
  write(offset: number, value: number): void | Promise<void>;
}

/** Adapts a device with 8-bit registers to a bus. */
export function bytewise(device: ByteRegisters): Registers {
  return {
    read(offset, sizeBytes) {
      let value = 0;
      for (let i = 0; i < sizeBytes; i++) value += device.read(offset + i) * 2 ** (8 * i);
      return value;
    },
    write(offset, sizeBytes, value) {
      if (sizeBytes === 1) return device.write(offset, value & 0xff);
      const waits: (void | Promise<void>)[] = [];
      for (let i = 0; i < sizeBytes; i++) waits.push(device.write(offset + i, (value >>> (8 * i)) & 0xff));
      return Promise.all(waits).then(() => {});
    },
  };
}
