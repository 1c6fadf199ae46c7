// kvm: the program of a vCPU thread: runs the guest, handles its exits, and carries out the main thread's
// orders.
import { once } from 'node:events';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { pinThread } from '../sys/cpu.ts';
import { threadId } from '../sys/thread-signal.ts';
import { KVM_EXIT_INTR } from './constants.ts';
import { Vcpu } from './vcpu.ts';
import type { VcpuHandler, VcpuProgram } from './vcpu-thread.ts';
import { OBEYED, ORDER, RUN, STOP, type VcpuThreadMessage, type VcpuThreadSetup } from './vcpu-words.ts';

/** Exits in one call of `runSlice`: few, so that it is called often; enough that the call costs nothing. */
const SLICE_EXITS = 64;

const main = parentPort as MessagePort;
const isTaken = once(main, 'message') as Promise<[VcpuThreadSetup]>;
const loading = import(workerData as string) as Promise<{ vcpuProgram: VcpuProgram }>;
// Thrown below, by `await loading`, when the main thread listens for errors.
loading.catch(() => {});
const [{ vcpu: handle, data, cpu, control }] = await isTaken;
if (cpu !== undefined) pinThread(0, cpu);
using vcpu = Vcpu.borrow(handle);
const { vcpuProgram } = await loading;
const handler = vcpuProgram(vcpu, data as never);
tell({ type: 'ready', thread: threadId() });
// Not thrown: the thread's error event may overtake its messages, so that `start` would reject.
try {
  runGuest(vcpu, handler);
  tell({ type: 'ended', result: handler.result?.() });
} catch (problem) {
  tell({ type: 'failed', problem });
}

/** Runs the guest until the handler returns false, or the main thread orders a stop. */
function runGuest(vcpu: Vcpu, handler: VcpuHandler): void {
  while (runSlice(vcpu, handler));
}

/**
 * Handles some exits; returns false at the end. V8 switches to optimized code when a function is called: an endless
 * loop would stay in less optimized code, in which every exit costs half a microsecond more.
 */
function runSlice(vcpu: Vcpu, handler: VcpuHandler): boolean {
  for (let left = SLICE_EXITS; left > 0; left--) {
    const reason = vcpu.run();
    if (reason === KVM_EXIT_INTR) {
      if (!obey()) return false;
    } else if (!handler.onExit(reason)) return false;
  }
  return true;
}

/** Carries out the last order: waits during a pause; returns false for a stop. */
function obey(): boolean {
  for (;;) {
    const order = Atomics.load(control, ORDER);
    if (order % 4 === STOP) return false;
    Atomics.store(control, OBEYED, order);
    Atomics.notify(control, OBEYED);
    if (order % 4 === RUN) return true;
    Atomics.wait(control, ORDER, order);
  }
}

function tell(message: VcpuThreadMessage): void {
  main.postMessage(message);
}
