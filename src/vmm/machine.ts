// vmm: memory, processors, buses and devices together: their start, stop and end.
import assert from 'node:assert/strict';
import { setCpuid, supportedCpuid } from '../kvm/cpuid.ts';
import type { Kvm } from '../kvm/kvm.ts';
import { getMsrs, setMsrs } from '../kvm/registers.ts';
import type { SpareThread } from '../kvm/spare-thread.ts';
import type { Vcpu } from '../kvm/vcpu.ts';
import { VcpuThread } from '../kvm/vcpu-thread.ts';
import type { Vm } from '../kvm/vm.ts';
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import { acpiTables } from './acpi-tables.ts';
import { ACPI_TABLES } from './address-map.ts';
import { commandLineBytes, writeBootParams } from './boot-params.ts';
import { Bus } from './bus.ts';
import type { Console } from './console.ts';
import { ExitHandler } from './exit-handler.ts';
import type { ExitProgramResult } from './exit-protocol.ts';
import { GuestRam, memoryPieces } from './guest-ram.ts';
import { checkKernel, loadKernel } from './load-kernel.ts';
import { enterLongMode, writeTables } from './long-mode.ts';
import { addPlatform, type MachineExit, serialShortcuts } from './platform.ts';
import { cpuidFor, processorThreads } from './processor.ts';
import type { SerialPort } from './serial-port.ts';

const IA32_MISC_ENABLE = 0x1a0;
const FAST_STRINGS = 1n;
const IA32_MTRR_DEF_TYPE = 0x2ff;
/** Enabled, and all memory is write-back. */
const WRITE_BACK = 0x806n;

export interface MachineOptions {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly console: Console;
  /** The result of `processorThreads(cpus)`, if it was called earlier. */
  readonly threads?: readonly SpareThread[];
}

/** Which kernel to boot, and how. */
export interface BootOptions {
  readonly kernel: string;
  readonly initrd: string | undefined;
  readonly commandLine: string;
}

/** Throws what `Machine.boot` would throw for these files and this command line, before there is a machine. */
export function checkBoot({ kernel, initrd, commandLine }: BootOptions, memoryBytes: number): void {
  const [low] = memoryPieces(memoryBytes);
  const { commandLineMax } = checkKernel(low?.sizeBytes ?? 0, kernel, initrd);
  commandLineBytes(commandLine, commandLineMax);
}

/** Something to close before the machine's memory is unmapped. */
export interface Closable {
  close(): void | Promise<void>;
}

/** One microVM, from its construction to its disposal. */
export class Machine implements AsyncDisposable {
  readonly vm: Vm;
  readonly ram: GuestRam;
  readonly ports = new Bus();
  readonly memory = new Bus();
  /** The event loop of every device. It runs inside Node's loop. */
  readonly loop = new EventLoop();
  readonly #options: MachineOptions;
  readonly #exits: ExitHandler;
  readonly #serial: SerialPort;
  readonly #vcpus: Vcpu[];
  readonly #threads: Promise<VcpuThread>[];
  readonly #ended = Promise.withResolvers<MachineExit>();
  readonly #ride: Disposable;
  readonly #closables = new AsyncDisposableStack();
  readonly #mmioSlots: number[] = [];
  #hasPci = false;
  #isBooted = false;

  /** Makes a machine without a kernel and virtio devices; its processors wait for `boot`. Throws SystemError. */
  constructor(kvm: Kvm, options: MachineOptions) {
    this.#options = options;
    this.vm = kvm.createVm();
    const irqchip = this.vm.createIrqchip();
    irqchip.createTimer();
    this.#vcpus = createVcpus(kvm, this.vm, options.cpus);
    const shortcuts = serialShortcuts();
    this.#exits = new ExitHandler(options.cpus, {
      ports: this.ports,
      memory: this.memory,
      loop: this.loop,
      shortcuts,
      onFailure: (problem) => this.#end({ how: 'failed', why: `a device failed: ${problem.message}` }),
    });
    const { console } = options;
    const { status } = shortcuts;
    const setLine = (gsi: number, isHigh: boolean): void => irqchip.setLine(gsi, isHigh);
    this.#serial = addPlatform({ ports: this.ports, setLine, console, end: this.#end, status });
    // Threads take longer to start than all that follows, so they start now and wait for `releaseStart`.
    const { threads = processorThreads(options.cpus) } = options;
    assert(threads.length === options.cpus, `${threads.length} threads for ${options.cpus} processors`);
    this.#threads = this.#vcpus.map((vcpu, index) => this.#startThread(vcpu, index, threads[index]!));
    // Awaited later, by `boot`.
    for (const thread of this.#threads) thread.catch(() => {});
    this.ram = this.#createRam();
    this.#ride = rideNodeLoop(this.loop);
  }

  #createRam(): GuestRam {
    try {
      return new GuestRam(this.vm.memory, this.#options.memoryBytes);
    } catch (error) {
      // After a throw the caller cannot dispose of the machine, so its threads have to end by themselves.
      this.#exits.cancelStart();
      throw error;
    }
  }

  async #startThread(vcpu: Vcpu, index: number, program: SpareThread): Promise<VcpuThread> {
    const thread = await VcpuThread.start(vcpu, { program, data: this.#exits.programData(index) });
    thread.ended.then(
      (result) => {
        // After an intended end this is ignored, because only the first call of `#end` counts.
        const why = (result as ExitProgramResult) ?? 'its thread ended by itself';
        this.#end({ how: 'failed', why: `${why} (vCPU ${index})` });
      },
      (error: Error) => this.#end({ how: 'failed', why: `vCPU ${index}: ${error.message}` }),
    );
    return thread;
  }

  readonly #end = (exit: MachineExit): void => this.#ended.resolve(exit);

  get cpus(): number {
    return this.#options.cpus;
  }

  /** Adds a virtio-mmio window to the ACPI tables. Before `boot`. */
  describeMmio(slot: number): void {
    this.#mmioSlots.push(slot);
  }

  /** Adds the PCI bridge to the ACPI tables. Before `boot`. */
  describePci(): void {
    this.#hasPci = true;
  }

  /** Adds a closable, to close when no processor runs any more; the last added is closed first. */
  closeAtEnd(closable: Closable): void {
    this.#closables.defer(async () => await closable.close());
  }

  /**
   * Loads the kernel and starts the processors. Rejects with KernelError or SystemError; the machine can then only be
   * disposed.
   */
  async boot({ kernel, initrd, commandLine }: BootOptions): Promise<void> {
    const { low, lowFile, view, sizeBytes } = this.ram;
    const loaded = loadKernel(lowFile, kernel, initrd);
    low.set(
      acpiTables({ cpus: this.#options.cpus, mmioSlots: this.#mmioSlots, hasPci: this.#hasPci }),
      ACPI_TABLES.start,
    );
    writeBootParams(low, loaded, { commandLine, memoryBytes: sizeBytes, rsdp: ACPI_TABLES.start });
    writeTables(view);
    enterLongMode(this.#vcpus[0]!.fd, loaded.entry);
    this.#options.console.start((bytes) => this.#serial.receive(bytes));
    this.#isBooted = true;
    this.#exits.releaseStart();
    await Promise.all(this.#threads);
  }

  /** Resolves to how the machine ended. `stop` ends it. */
  get ended(): Promise<MachineExit> {
    return this.#ended.promise;
  }

  stop(): void {
    this.#end({ how: 'stopped' });
  }

  /** How many exits devices answered so far; doorbells and interrupts in the kernel do not count. */
  get exits(): number {
    return this.#exits.exits;
  }

  async #stopThreads(): Promise<void> {
    this.#exits.cancelStart();
    const started = await Promise.allSettled(this.#threads);
    const stops = started.map((thread) => (thread.status === 'fulfilled' ? thread.value.stop() : undefined));
    this.#exits.close();
    await Promise.allSettled(stops);
  }

  /**
   * Stops the processors, then closes the devices, then unmaps the memory. A closable that fails does not keep others
   * from being closed; rejects with its error at the end.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end({ how: 'stopped' });
    await this.#stopThreads();
    await using owned = new AsyncDisposableStack();
    for (const one of [this.loop, this.ram, this.vm, ...this.#vcpus, this.#ride, this.#exits]) owned.use(one);
    owned.use(this.#closables);
    if (this.#isBooted) owned.defer(() => this.#options.console.stop());
  }
}

function createVcpus(kvm: Kvm, vm: Vm, cpus: number): Vcpu[] {
  const supported = supportedCpuid(kvm.fd);
  const hasTscDeadline = kvm.capability('KVM_CAP_TSC_DEADLINE_TIMER') > 0;
  return Array.from({ length: cpus }, (_, index) => {
    const vcpu = vm.createVcpu(index);
    setCpuid(vcpu.fd, cpuidFor(supported, { index, cpus, hasTscDeadline }));
    // As firmware sets them. Otherwise Linux logs it, and runs slower.
    const [misc = 0n] = getMsrs(vcpu.fd, [IA32_MISC_ENABLE]);
    setMsrs(vcpu.fd, [
      [IA32_MISC_ENABLE, misc | FAST_STRINGS],
      [IA32_MTRR_DEF_TYPE, WRITE_BACK],
    ]);
    return vcpu;
  });
}
