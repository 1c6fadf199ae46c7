// test/kvm: a whole microVM around a payload: what it wrote to its serial port, and how it ended.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Kvm } from '../../src/kvm/kvm.ts';
import { Payload } from '../../src/testing/payload.ts';
import { elfKernel, KERNEL_ORIGIN } from '../../src/testing/payload-kernel.ts';
import type { Console } from '../../src/vmm/console.ts';
import { Machine, type MachineOptions } from '../../src/vmm/machine.ts';

export const MEMORY_BYTES = 16 * 2 ** 20;

/** A payload that a boot loader enters; the processor is in long mode. */
export const kernelCode = (): Payload => new Payload('long', KERNEL_ORIGIN);

/** eax to a port. */
export function out(payload: Payload, port: number, sizeBytes: 1 | 2 | 4 = 1): Payload {
  return payload.set('edx', port).out(sizeBytes);
}

/** Ends it as Linux does. */
export function powerOff(payload: Payload): Payload {
  return out(payload.set('eax', 0x3400), 0x604, 2).label('off').hlt().jump('off');
}

export class CollectingConsole implements Console {
  readonly bytes: number[] = [];
  receive: (bytes: Uint8Array) => number = () => 0;
  onRoom: () => void = () => {};

  write(byte: number): void {
    this.bytes.push(byte);
  }

  start(receive: (bytes: Uint8Array) => number): void {
    this.receive = receive;
  }

  stop(): void {}

  get text(): string {
    return String.fromCharCode(...this.bytes);
  }
}

/** The payload as a file. */
export function kernelFile(t: TestContext, payload: Payload, format = elfKernel): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-machine-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'kernel'), format(payload));
  return join(folder, 'kernel');
}

export interface Booting {
  readonly machine?: Partial<MachineOptions>;
  readonly initrd?: string;
  readonly commandLine?: string;
  readonly format?: typeof elfKernel;
  /** Puts devices on its buses. */
  readonly prepare?: (machine: Machine) => void | Promise<void>;
}

/** Boots the payload; `meanwhile` runs while it does. The machine is gone when this is done. */
export async function withMachine<Result>(
  kvm: Kvm,
  t: TestContext,
  payload: Payload,
  meanwhile: (machine: Machine, console: CollectingConsole) => Promise<Result>,
  { machine: options = {}, initrd, commandLine = '', format = elfKernel, prepare }: Booting = {},
): Promise<Result> {
  const console = new CollectingConsole();
  await using machine = new Machine(kvm, { cpus: 1, memoryBytes: MEMORY_BYTES, console, ...options });
  await prepare?.(machine);
  await machine.boot({ kernel: kernelFile(t, payload, format), initrd, commandLine });
  return await meanwhile(machine, console);
}
