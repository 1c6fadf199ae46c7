// bench/doorbell: the thread that listens: asleep in epoll, or reading the eventfd over and over.
import { workerData } from 'node:worker_threads';
import { type LinkEnd, receiveOn } from '../../src/daemon/thread-link.ts';
import { EventFd } from '../../src/kvm/index.ts';
import { pinThread, threadCpuNs } from '../../src/sys/cpu.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';

/** How the listening thread waits for a doorbell. */
export type ListenerKind = 'nobody' | 'epoll' | 'polling';

export type ListenerCall =
  | { readonly type: 'listen'; readonly fd: number; readonly kind: ListenerKind }
  | { readonly type: 'stop' }
  | { readonly type: 'end' };

export interface Heard {
  /** Reads that returned a count other than 0. */
  readonly wakes: number;
  readonly cpuSeconds: number;
}

export interface ListenerSetup {
  readonly calls: LinkEnd;
  readonly cpu: number;
}

/** Reads between two checks of the stop word. */
const POLL_BATCH = 256;

const { calls, cpu } = workerData as ListenerSetup;
pinThread(0, cpu);
using loop = new EventLoop();
let watch: Disposable | undefined;
let wakes = 0;
let heard: EventFd | undefined;
let isPolling = false;
let cpuBeforeNs = threadCpuNs();

receiveOn<ListenerCall>(loop, calls, (call) => {
  if (call.type === 'end') return loop.stop();
  if (call.type === 'listen') listen(EventFd.borrow(call.fd), call.kind);
  else stop();
  calls.port.postMessage({ wakes, cpuSeconds: (threadCpuNs() - cpuBeforeNs) / 1e9 } satisfies Heard);
});
await loop.run();

function listen(bell: EventFd, kind: ListenerKind): void {
  wakes = 0;
  if (kind !== 'nobody') heard = bell;
  if (kind === 'epoll') watch = loop.watch(bell.fd, { readable: look });
  isPolling = kind === 'polling';
  poll();
  cpuBeforeNs = threadCpuNs();
}

/** Counts the rings that came while this thread had no processor, and stops. */
function stop(): void {
  isPolling = false;
  watch?.[Symbol.dispose]();
  look();
  heard = undefined;
}

function look(): void {
  if (heard?.clear()) wakes++;
}

function poll(): void {
  if (!isPolling) return;
  for (let i = 0; i < POLL_BATCH; i++) look();
  loop.soon(poll);
}
