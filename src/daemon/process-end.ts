// Upper floor: who ends the process after SIGTERM: the main thread, which has a last line to print, or, while that is busy, the device's.
import { constants } from 'node:os';
import { threadCpuNs } from '../sys/cpu.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import { exitNow, killAfter } from '../sys/process-exit.ts';
import { ProcessSignals } from '../sys/process-signals.ts';
import { removeSocketFile, type SocketFile } from '../sys/socket-file.ts';

/** What both threads need to agree. */
export interface ProcessEnd {
  /** Shared: who has it. */
  readonly word: Int32Array<SharedArrayBuffer>;
  readonly mainThread: number;
  /** The socket's file, if it is ours to remove. */
  readonly socket: SocketFile | undefined;
  /** How long requests in flight are waited for. */
  readonly graceSeconds: number;
}

const NOBODY = 0;
const MAIN_THREAD = 1;
const DEVICE_THREAD = 2;

const LOOK_MS = 2;
/** Processor time that a main thread with nothing else to do needs by far not before it hears of it. */
const BUSY_NS = 20e6;
/** A main thread that uses no processor either waits for somebody: for a reader of its output that does not read, say. */
const STUCK_MS = 5000;
/** After the time of grace, and what the main thread takes to say so, the kernel ends what is still there. */
const LAST_SECONDS = 10;
/** After a second signal. */
const SECOND_SIGNAL_SECONDS = 2;

export function newProcessEnd(socket: SocketFile | undefined, graceSeconds: number): ProcessEnd {
  return { word: new Int32Array(new SharedArrayBuffer(4)), mainThread: process.pid, socket, graceSeconds };
}

/** For the main thread, when it hears that the device is to close, or has. False: too late, the process is ending. */
export function takeProcessEnd({ word }: ProcessEnd): boolean {
  const before = Atomics.compareExchange(word, 0, NOBODY, MAIN_THREAD);
  Atomics.notify(word, 0);
  return before !== DEVICE_THREAD;
}

/** For the device's thread: SIGTERM and SIGINT. The main thread hears them too, but it may be busy. */
export class EndingSignals implements Disposable {
  /** How much the main thread had worked when the first signal came; undefined before. */
  toldAtNs: number | undefined;
  readonly #signals = new ProcessSignals([constants.signals.SIGTERM, constants.signals.SIGINT]);
  readonly #watch: Disposable;

  /** @param onFirst called once. */
  constructor(loop: EventLoop, { mainThread, graceSeconds }: ProcessEnd, onFirst: () => void) {
    this.#watch = loop.watch(this.#signals.fd, {
      readable: () => {
        if (this.#signals.read() === undefined) return;
        const isFirst = this.toldAtNs === undefined;
        this.toldAtNs ??= threadCpuNs(mainThread);
        // Neither thread may be able to run its JavaScript when it matters.
        killAfter(isFirst ? Math.ceil(graceSeconds) + LAST_SECONDS : SECOND_SIGNAL_SECONDS);
        if (isFirst) onFirst();
      },
    });
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#signals[Symbol.dispose]();
  }
}

/**
 * For the device's thread, when everything is closed: leaves the end to the main thread, unless that is busy with something else, and has
 * been since it had worked for `toldAtNs`.
 */
export function leaveProcessEnd({ word, mainThread, socket }: ProcessEnd, toldAtNs = threadCpuNs(mainThread)): void {
  const startedMs = performance.now();
  while (threadCpuNs(mainThread) - toldAtNs < BUSY_NS && performance.now() - startedMs < STUCK_MS) {
    if (Atomics.wait(word, 0, NOBODY, LOOK_MS) !== 'timed-out') return;
  }
  if (Atomics.compareExchange(word, 0, NOBODY, DEVICE_THREAD) !== NOBODY) return;
  if (socket !== undefined) removeSocketFile(socket);
  exitNow(0);
}
