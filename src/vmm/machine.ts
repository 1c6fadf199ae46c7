// The microVM: memory, processors, buses and devices put together; started, stopped, and its end told.
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
import { writeBootParams } from './boot-params.ts';
import { Bus } from './bus.ts';
import type { Console } from './console.ts';
import { ExitHandler } from './exit-handler.ts';
import type { ExitProgramResult } from './exit-protocol.ts';
import { GuestRam } from './guest-ram.ts';
import { loadKernel } from './load-kernel.ts';
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
  /** Of `processorThreads(cpus)`, if they were started earlier. */
  readonly threads?: readonly SpareThread[];
}

/** What a kernel is booted with. */
export interface BootOptions {
  readonly kernel: string;
  readonly initrd: string | undefined;
  readonly commandLine: string;
}

/** A device that has to be closed before the machine's memory goes. */
export interface Closable {
  close(): void | Promise<void>;
}

export class Machine implements AsyncDisposable {
  readonly vm: Vm;
  readonly ram: GuestRam;
  readonly ports = new Bus();
  readonly memory = new Bus();
  /** Every device runs on it; it rides Node's own. */
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

  /** A machine without kernel and virtio devices; its processors wait. Throws SystemError. */
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
    // They take longer to start than all that follows: they wait to be released.
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
      // Nobody can dispose of a machine that never was: its threads have to end by themselves.
      this.#exits.cancelStart();
      throw error;
    }
  }

  async #startThread(vcpu: Vcpu, index: number, program: SpareThread): Promise<VcpuThread> {
    const thread = await VcpuThread.start(vcpu, { program, data: this.#exits.programData(index) });
    thread.ended.then(
      (result) => {
        // Of an end that was wanted somebody has told already, and only the first word counts.
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

  /** Has the ACPI tables describe a virtio-mmio window. Before `boot`. */
  describeMmio(slot: number): void {
    this.#mmioSlots.push(slot);
  }

  /** Has the ACPI tables describe the PCI bridge. Before `boot`. */
  describePci(): void {
    this.#hasPci = true;
  }

  /** Has `closable` closed when no processor runs any more, the latest first. */
  closeAtEnd(closable: Closable): void {
    this.#closables.defer(async () => await closable.close());
  }

  /** Loads the kernel and lets the processors go. Throws KernelError or SystemError; the machine can then only be disposed of. */
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

  /** How it ends, once it has; before that, call `stop`. */
  get ended(): Promise<MachineExit> {
    return this.#ended.promise;
  }

  stop(): void {
    this.#end({ how: 'stopped' });
  }

  /** Exits that devices answered so far; a doorbell or an interrupt is none. */
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
   * Stops the processors, closes the devices, and gives the memory back. What fails to close keeps nothing else from being
   * closed; rejects with its error at the end.
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
    // As firmware leaves them; Linux says so where it finds them otherwise, and goes slower.
    const [misc = 0n] = getMsrs(vcpu.fd, [IA32_MISC_ENABLE]);
    setMsrs(vcpu.fd, [
      [IA32_MISC_ENABLE, misc | FAST_STRINGS],
      [IA32_MTRR_DEF_TYPE, WRITE_BACK],
    ]);
    return vcpu;
  });
}
