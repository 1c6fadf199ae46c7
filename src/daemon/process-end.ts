// daemon: which thread ends the process after SIGTERM: the main thread, which prints a last line, or the device
// thread if that is busy.
import { constants } from 'node:os';
import { threadCpuNs } from '../sys/cpu.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import { exitNow, killAfter } from '../sys/process-exit.ts';
import { ProcessSignals } from '../sys/process-signals.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { removeSocketFile, type SocketFile } from '../sys/socket-file.ts';
import { restoreTerminal, terminalSettings } from '../sys/terminal.ts';

/** What the main thread and the device thread share. */
export interface ProcessEnd {
  /** Shared memory: which thread ends the process. */
  readonly word: Int32Array<SharedArrayBuffer>;
  readonly mainThread: number;
  /** The socket's file, if this process has to remove it. */
  readonly socket: SocketFile | undefined;
  /** Further files of sockets that this process has to remove. */
  readonly otherSockets: readonly SocketFile[];
  /** How long to wait for requests in flight. */
  readonly graceSeconds: number;
  /** A main thread that has used this much processor time and has not reacted is busy. */
  readonly busyNs: number;
  /** The settings of standard input, if it is a terminal that the main thread takes over: they are restored. */
  readonly terminal: Uint8Array<SharedArrayBuffer> | undefined;
}

const STDIN = 0;
const UNDECIDED = 0;
const MAIN_THREAD = 1;
const DEVICE_THREAD = 2;

const CHECK_MS = 2;
/** `busyNs` by default: an idle main thread needs far less to react. */
const BUSY_NS = 20e6;
/**
 * A main thread that has not reacted for this long and uses no processor is blocked, for instance on a full pipe of its
 * output.
 */
const STUCK_MS = 5000;
/** How long after the grace period the kernel ends the process; the main thread may still log the timeout in it. */
const LAST_SECONDS = 10;
/** The same after a second signal, without a grace period. */
const SECOND_SIGNAL_SECONDS = 2;

/**
 * @param socket the socket's file, if this process has to remove it.
 * @param mainHasOutput the main thread passes on the device's last output and restores a terminal: it gets the whole
 *   grace period for that, however busy it is.
 */
export function newProcessEnd(
  socket: SocketFile | undefined,
  graceSeconds: number,
  mainHasOutput = false,
  otherSockets: readonly SocketFile[] = [],
): ProcessEnd {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const busyNs = mainHasOutput ? Math.max(graceSeconds * 1e9, BUSY_NS) : BUSY_NS;
  const terminal = mainHasOutput ? terminalSettings(STDIN) : undefined;
  return { word, mainThread: process.pid, socket, otherSockets, graceSeconds, busyNs, terminal };
}

/**
 * For the main thread, when the device is closing or closed. Returns false if the device thread is already ending the
 * process.
 */
export function takeProcessEnd({ word }: ProcessEnd): boolean {
  const before = Atomics.compareExchange(word, 0, UNDECIDED, MAIN_THREAD);
  Atomics.notify(word, 0);
  return before !== DEVICE_THREAD;
}

/** For the device thread: handles SIGTERM and SIGINT. The main thread handles them too, but it may be busy. */
export class EndingSignals implements Disposable {
  /** Processor time of the main thread when the first signal came, in ns; undefined before. */
  mainThreadCpuNs: number | undefined;
  readonly #signals = new ProcessSignals([constants.signals.SIGTERM, constants.signals.SIGINT]);
  readonly #watch: Disposable;

  /** @param onFirst called once, at the first signal. */
  constructor(loop: EventLoop, { mainThread, graceSeconds }: ProcessEnd, onFirst: () => void) {
    this.#watch = loop.watch(this.#signals.fd, {
      readable: () => {
        if (this.#signals.read() === undefined) return;
        const isFirst = this.mainThreadCpuNs === undefined;
        this.mainThreadCpuNs ??= threadCpuNs(mainThread);
        // A kernel timer, because both threads may be unable to run JavaScript then.
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
 * For the device thread, when everything is closed: leaves the end of the process to the main thread, or ends the
 * process if the main thread is busy or blocked. `sinceCpuNs` is the processor time of the main thread from which to
 * count; now, by default.
 */
export function leaveProcessEnd(
  { word, mainThread, socket, otherSockets, busyNs, terminal }: ProcessEnd,
  sinceCpuNs = threadCpuNs(mainThread),
): void {
  const startedMs = performance.now();
  while (threadCpuNs(mainThread) - sinceCpuNs < busyNs && performance.now() - startedMs < STUCK_MS) {
    if (Atomics.wait(word, 0, UNDECIDED, CHECK_MS) !== 'timed-out') return;
  }
  if (Atomics.compareExchange(word, 0, UNDECIDED, DEVICE_THREAD) !== UNDECIDED) return;
  // The main thread may have come to none of this. To be told twice does a service manager no harm.
  serviceManager.notify('STOPPING=1');
  for (const file of [...(socket ? [socket] : []), ...otherSockets]) removeSocketFile(file);
  if (terminal !== undefined) restoreTerminal(STDIN, terminal);
  exitNow(0);
}
