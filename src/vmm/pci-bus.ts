// vmm: a PCI bus with a host bridge and up to 31 functions, whose configuration spaces are reached through
// ports (mechanism #1).

import { ConfigSpace } from '../transports/bus/pci/config-space.ts';
import { PciConfig } from '../transports/bus/pci/spec.ts';
import type { Registers } from '../transports/bus/registers.ts';
import { allOnes } from './bus.ts';

/** The ports from 0xcf8 on: CONFIG_ADDRESS, then CONFIG_DATA. */
export const PCI_PORTS_BYTES = 8;
const DATA = 4;

// CONFIG_ADDRESS: enable 31, bus 23:16, device 15:11, function 10:8, register 7:2
const ENABLE = 0x8000_0000;
const ADDRESS_BITS = 0x80ff_fffc;
const DEVICES = 32;

const BRIDGE = { vendor: 0x1b36, device: 0x0008, classCode: 0x06_00_00 } as const;

/** The bus as registers on the port bus. */
export class PciBus implements Registers {
  /** By device number; 0 is the host bridge. */
  readonly #functions: (Registers | undefined)[] = [hostBridge()];
  #address = 0;

  /** Adds a function by its configuration space; returns its device number. Throws RangeError when the bus is full. */
  add(config: Registers): number {
    const free = Array.from({ length: DEVICES }).findIndex((_, device) => this.#functions[device] === undefined);
    if (free < 0) throw new RangeError(`a PCI bus takes ${DEVICES - 1} devices`);
    this.#functions[free] = config;
    return free;
  }

  read(offset: number, sizeBytes: number): number {
    // CONFIG_ADDRESS is one double word; other accesses there are not for the bus.
    if (offset < DATA) return offset === 0 && sizeBytes === 4 ? this.#address : allOnes(sizeBytes);
    const register = this.#register(offset);
    return this.#function?.read(register, sizeBytes) ?? allOnes(sizeBytes);
  }

  write(offset: number, sizeBytes: number, value: number): void | Promise<void> {
    if (offset < DATA) {
      if (offset === 0 && sizeBytes === 4) this.#address = (value & ADDRESS_BITS) >>> 0;
      return;
    }
    return this.#function?.write(this.#register(offset), sizeBytes, value);
  }

  get #function(): Registers | undefined {
    const isHere = this.#address >= ENABLE && (this.#address & 0x00ff_0700) === 0;
    return isHere ? this.#functions[(this.#address >>> 11) & 31] : undefined;
  }

  #register(offset: number): number {
    return (this.#address & 0xfc) + offset - DATA;
  }
}

/** The host bridge: nothing to configure, but guests probe for it to detect the bus. */
function hostBridge(): ConfigSpace {
  const config = new ConfigSpace();
  config.define(PciConfig.vendorId, 2, BRIDGE.vendor);
  config.define(PciConfig.deviceId, 2, BRIDGE.device);
  config.define(PciConfig.revisionId, 4, BRIDGE.classCode * 0x100);
  return config;
}
