// Ground floor: what a vCPU's thread does: run the guest, have its exits handled, obey the main thread in between.
import { once } from 'node:events';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { pinThread } from '../sys/cpu.ts';
import { threadId } from '../sys/thread-signal.ts';
import { KVM_EXIT_INTR } from './constants.ts';
import { Vcpu } from './vcpu.ts';
import type { VcpuHandler, VcpuProgram } from './vcpu-thread.ts';
import { OBEYED, ORDER, RUN, STOP, type VcpuThreadMessage, type VcpuThreadSetup } from './vcpu-words.ts';

/** Few enough for many slices to begin, enough for beginning one to cost nothing. */
const SLICE_EXITS = 64;

const main = parentPort as MessagePort;
const isTaken = once(main, 'message') as Promise<[VcpuThreadSetup]>;
const loading = import(workerData as string) as Promise<{ vcpuProgram: VcpuProgram }>;
// Thrown below, when there is somebody to hear it.
loading.catch(() => {});
const [{ vcpu: handle, data, cpu, control }] = await isTaken;
if (cpu !== undefined) pinThread(0, cpu);
using vcpu = Vcpu.borrow(handle);
const { vcpuProgram } = await loading;
const handler = vcpuProgram(vcpu, data as never);
tell({ type: 'ready', thread: threadId() });
// Not thrown: an error of the thread's may overtake its messages, and `start` would seem to have failed.
try {
  runGuest(vcpu, handler);
  tell({ type: 'ended', result: handler.result?.() });
} catch (problem) {
  tell({ type: 'failed', problem });
}

/** Until the handler has enough, or the main thread wants no more. */
function runGuest(vcpu: Vcpu, handler: VcpuHandler): void {
  while (runSlice(vcpu, handler));
}

/**
 * Some exits; false at the end. V8 puts its best compiler's code in when a function is called: a loop that never ends stays in the code
 * of the compiler before it, where every exit costs half a microsecond more.
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

/** Waits while the main thread wants a pause; false when it wants the end. */
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
