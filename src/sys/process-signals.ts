// sys: signals sent to the process, as a descriptor for one thread's epoll set. uv_signal_t.
import { DynamicLibrary } from 'node:ffi';
import { getSystemErrorName } from 'node:util';
import { SystemError } from './libc.ts';
import { Scratch } from './scratch.ts';

const UV_SIGNAL = 16;
const UV_RUN_DEFAULT = 0;
const UV_RUN_NOWAIT = 2;

// SAFETY: libuv's symbols belong to the node executable, which is never unloaded; the signatures are those of uv.h.
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
 * Signals sent to the process, read from a descriptor, however busy the other threads are. The kernel delivers such a
 * signal to any thread that does not block it, and Node's helper threads block none, so a signalfd(2) would miss it.
 * libuv's handler runs in the thread that gets the signal, and writes to a pipe of every loop that watches it: this
 * class has a libuv loop of its own. Until it is disposed the signal's default action, the end of the process, does not
 * happen. Node's own listeners are called too.
 */
export class ProcessSignals implements Disposable {
  /** Readable when `read` has a signal to return. */
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
    // libuv adds its pipe to its epoll set on its first turn.
    uv.uv_run(this.#loop.address, UV_RUN_NOWAIT);
  }

  #listen(signal: number): void {
    const handle = new Scratch(Number(uv.uv_handle_size(UV_SIGNAL)));
    // SAFETY: as above.
    succeed(uv.uv_signal_init(this.#loop.address, handle.address), 'uv_signal_init');
    this.#handles.push(handle);
    succeed(uv.uv_signal_start(handle.address, this.#onSignal, signal), 'uv_signal_start');
  }

  /** Returns the number of the next signal, or undefined when there is none. */
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

/** libuv returns 0, or a negative errno. */
function succeed(result: number, call: string): void {
  if (result !== 0) throw new SystemError(call, getSystemErrorName(result), 'signals cannot be listened to');
}
