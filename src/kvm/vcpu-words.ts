// kvm: the protocol between a vCPU thread and the main thread: shared words and messages.
import type { VcpuHandle } from './vcpu.ts';

/**
 * The words of `VcpuThreadSetup.control`: the last order, and the last one carried out. An order is a count times 4
 * plus RUN, PAUSE or STOP.
 */
export const ORDER = 0;
export const OBEYED = 1;
export const RUN = 0;
export const PAUSE = 1;
export const STOP = 2;

/** The setup that a spare thread waits for. */
export interface VcpuThreadSetup {
  readonly vcpu: VcpuHandle;
  readonly data: unknown;
  readonly cpu: number | undefined;
  readonly control: Int32Array<SharedArrayBuffer>;
}

export type VcpuThreadMessage =
  | { readonly type: 'ready'; readonly thread: number }
  | { readonly type: 'ended'; readonly result: unknown }
  | { readonly type: 'failed'; readonly problem: unknown };
