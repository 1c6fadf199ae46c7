// Cellar: signals sent to the process, as a descriptor of one thread's epoll set, whatever the other threads are busy with. uv_signal_t.
import { DynamicLibrary } from 'node:ffi';
import { getSystemErrorName } from 'node:util';
import { SystemError } from './libc.ts';
import { Scratch } from './scratch.ts';

const UV_SIGNAL = 16;
const UV_RUN_DEFAULT = 0;
const UV_RUN_NOWAIT = 2;

// SAFETY: libuv's symbols belong to the node executable, which outlives us; the signatures are those of uv.h.
const uvLibrary = new DynamicLibrary(null);
const uv = uvLibrary.getFunctions({
  uv_backend_fd: { return: 'int32', arguments: ['pointer'] },
  uv_close: { return: 'void', arguments: ['pointer', 'pointer'] },
  uv_handle_size: { return: 'uint64', arguments: ['int32'] },
  uv_loop_close: { return: 'int32', arguments: ['pointer'] },
  uv_loop_init: { return: 'int32', arguments: ['pointer'] },
  uv_loop_size: { return: 'uint64', arguments: [] },
  uv_run: { return: 'int32', arguments: ['pointer', 'int32'] },
  uv_signal_init: { return: 'int32', arguments: ['pointer', 'pointer'] },
  uv_signal_start: { return: 'int32', arguments: ['pointer', 'pointer', 'int32'] },
});

/**
 * The kernel gives such a signal to any thread that does not block it, and Node's helpers block none, so a signalfd of ours would miss
 * it. libuv's handler runs in whichever thread it hits, and writes to the pipe of every loop that asked: this one is ours alone. While it
 * listens, the signal's default action (death) is off. Node's own listeners are told too.
 */
export class ProcessSignals implements Disposable {
  /** Readable when there is something to read. */
  readonly fd: number;
  readonly #loop = new Scratch(Number(uv.uv_loop_size()));
  readonly #handles: Scratch[] = [];
  readonly #arrived: number[] = [];
  readonly #onSignal: bigint;

  /** Throws SystemError: EINVAL for a signal that cannot be caught, EMFILE. */
  constructor(signals: readonly number[]) {
    this.#onSignal = uvLibrary.registerCallback({ arguments: ['pointer', 'int32'], return: 'void' }, (_, signal) => {
      this.#arrived.push(signal as number);
    });
    // SAFETY: loop, handles and callback live until `dispose` has closed them, and only this thread runs the loop.
    succeed(uv.uv_loop_init(this.#loop.address), 'uv_loop_init');
    this.fd = uv.uv_backend_fd(this.#loop.address);
    try {
      for (const signal of signals) this.#listen(signal);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    // libuv puts its pipe into its epoll set on its first turn.
    uv.uv_run(this.#loop.address, UV_RUN_NOWAIT);
  }

  #listen(signal: number): void {
    const handle = new Scratch(Number(uv.uv_handle_size(UV_SIGNAL)));
    // SAFETY: as above.
    succeed(uv.uv_signal_init(this.#loop.address, handle.address), 'uv_signal_init');
    this.#handles.push(handle);
    succeed(uv.uv_signal_start(handle.address, this.#onSignal, signal), 'uv_signal_start');
  }

  /** The next signal's number, or undefined. */
  read(): number | undefined {
    // SAFETY: as above. The callback runs within this call, on this thread.
    if (this.#arrived.length === 0) uv.uv_run(this.#loop.address, UV_RUN_NOWAIT);
    return this.#arrived.shift();
  }

  [Symbol.dispose](): void {
    // SAFETY: a loop without handles left has run to its end, and nothing refers to the memory any more.
    for (const handle of this.#handles) uv.uv_close(handle.address, 0n);
    uv.uv_run(this.#loop.address, UV_RUN_DEFAULT);
    uv.uv_loop_close(this.#loop.address);
    for (const handle of this.#handles) handle[Symbol.dispose]();
    this.#loop[Symbol.dispose]();
    uvLibrary.unregisterCallback(this.#onSignal);
  }
}

/** libuv gives 0, or a negative errno. */
function succeed(result: number, call: string): void {
  if (result !== 0) throw new SystemError(call, getSystemErrorName(result), 'signals cannot be listened to');
}
