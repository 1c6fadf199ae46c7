// kvm: a virtual processor: runs the guest on the calling thread until an exit.
import { constants as os } from 'node:os';
import { makeInterrupting } from '../sys/interrupting-signal.ts';
import { closeFd, errno, ioctlByValue, type SystemError, systemError } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import { signalThread } from '../sys/thread-signal.ts';
import { IOCTLS, KVM_EXIT_INTR, KVM_MP_STATE_RUNNABLE, KVM_RUN } from './constants.ts';
import { Exits } from './exits.ts';
import { ioctlWithStruct, zeroedStruct } from './ioctl.ts';

/** A real-time signal that nothing else uses: 34 and below are the C library's. */
const KICK_SIGNAL = 40;

const ADVICE: { readonly [code: string]: string } = {
  EFAULT: 'guest memory lost what stood behind it: a mapping went before its slot, or the host is out of memory',
  EINVAL: 'the registers contradict each other: look at cr0, cr4, efer and the segments',
};

const RUN_REQUEST = Number(IOCTLS.KVM_RUN);

/** A reference to a vCPU for another thread. Structured-cloneable. */
export interface VcpuHandle {
  readonly fd: number;
  readonly index: number;
  readonly runBytes: number;
}

/** One vCPU. Its ioctls have to be called on the thread that runs it (api.rst 1); `kick` may be called on any. */
export class Vcpu implements Disposable {
  /** The descriptor, for `getRegisters` and others. */
  readonly fd: number;
  /** Its APIC id. */
  readonly index: number;
  /** The exit, after `run`. */
  readonly exits: Exits;
  readonly #runPage: Mapping;
  readonly #isOwner: boolean;

  private constructor({ fd, index, runBytes }: VcpuHandle, isOwner: boolean) {
    this.fd = fd;
    this.index = index;
    this.#isOwner = isOwner;
    this.#runPage = Mapping.ofFile(fd, runBytes);
    this.exits = new Exits(this.#runPage.bytes);
    makeInterrupting(KICK_SIGNAL);
  }

  /** Takes over a descriptor from KVM_CREATE_VCPU. */
  static own(handle: VcpuHandle): Vcpu {
    return new Vcpu(handle, true);
  }

  /** Uses a vCPU that another thread owns. */
  static borrow(handle: VcpuHandle): Vcpu {
    return new Vcpu(handle, false);
  }

  /** The argument of `borrow` on another thread. */
  get handle(): VcpuHandle {
    return { fd: this.fd, index: this.index, runBytes: this.#runPage.bytes.length };
  }

  /**
   * Runs the guest until it exits, and returns the reason (KVM_EXIT_…); details are in `exits`. After a kick it is
   * KVM_EXIT_INTR, and the exit before it is complete. Throws SystemError if the guest cannot go on.
   */
  run(): number {
    // SAFETY: KVM_RUN takes no argument; it writes to the run page, mapped until this is disposed, and to guest memory
    // (MemorySlot).
    if (ioctlByValue(this.fd, RUN_REQUEST, 0) >= 0) return this.exits.reason;
    const number = errno();
    // EAGAIN: a vCPU that waits for its start-up message was woken by something else.
    if (number !== os.errno.EINTR && number !== os.errno.EAGAIN) {
      const { code } = systemError('KVM_RUN');
      throw systemError('KVM_RUN', ADVICE[code] ?? this.exits.describe());
    }
    // The kicking thread stores its order before this flag; this thread clears the flag before it loads the order: full
    // barriers.
    Atomics.store(this.#runPage.bytes, KVM_RUN.immediateExit, 0);
    return KVM_EXIT_INTR;
  }

  /**
   * Makes `run` on that thread (kernel thread id) return, or return at once when it is called next. No effect on an
   * exited thread.
   */
  kick(thread: number): void {
    Atomics.store(this.#runPage.bytes, KVM_RUN.immediateExit, 1);
    try {
      signalThread(thread, KICK_SIGNAL);
    } catch (error) {
      // The thread has exited, and its exit event has not arrived yet.
      if ((error as SystemError).code !== 'ESRCH') throw error;
    }
  }

  /** KVM_MP_STATE_…: with an irqchip, vCPUs other than the first wait for their start-up message. */
  get multiprocessingState(): number {
    const memory = zeroedStruct(4);
    ioctlWithStruct(this.fd, 'KVM_GET_MP_STATE');
    return memory.getUint32(0, true);
  }

  /** Makes a vCPU runnable that waits for its start-up message, or is halted. */
  makeRunnable(): void {
    zeroedStruct(4).setUint32(0, KVM_MP_STATE_RUNNABLE, true);
    ioctlWithStruct(this.fd, 'KVM_SET_MP_STATE');
  }

  [Symbol.dispose](): void {
    if (this.#runPage.bytes.length === 0) return;
    this.#runPage[Symbol.dispose]();
    if (this.#isOwner) closeFd(this.fd);
  }
}
