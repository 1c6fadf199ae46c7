// Cellar: rides Node's own loop: an EventLoop's epoll set becomes one more descriptor of libuv, so promises and timers go on beside it.
import { DynamicLibrary, getCurrentEventLoop } from 'node:ffi';
import type { EventLoop } from './event-loop.ts';
import { SystemError } from './libc.ts';
import { Scratch } from './scratch.ts';

const UV_POLL = 8;
const UV_READABLE = 1;

// SAFETY: libuv's symbols belong to the node executable, which outlives us; the signatures are those of uv.h.
const uvLibrary = new DynamicLibrary(null);
const uv = uvLibrary.getFunctions({
  uv_handle_size: { return: 'uint64', arguments: ['int32'] },
  uv_poll_init: { return: 'int32', arguments: ['pointer', 'pointer', 'int32'] },
  uv_poll_start: { return: 'int32', arguments: ['pointer', 'int32', 'pointer'] },
  uv_poll_stop: { return: 'int32', arguments: ['pointer'] },
  uv_close: { return: 'void', arguments: ['pointer', 'pointer'] },
});

/** Lets `loop` take its turns inside this thread's Node loop until disposed. Keeps the process alive, like a listening socket. */
export function rideNodeLoop(loop: EventLoop): Disposable {
  const handle = new Scratch(Number(uv.uv_handle_size(UV_POLL)));
  let riding = true;
  const turn = (): void => {
    if (!riding) return;
    try {
      loop.turn(0);
    } catch (error) {
      // Node aborts when a native callback throws; thrown in its next turn, this is an uncaught exception like any other.
      setImmediate(() => {
        throw error;
      });
    }
    // Promises settled by native callbacks only run in Node's next turn.
    askForTurn();
  };
  let isAskedFor = false;
  const askForTurn = (): void => {
    if (!isAskedFor) setImmediate(again);
    isAskedFor = true;
  };
  const again = (): void => {
    isAskedFor = false;
    if (!riding) return;
    let isMoreLeft = true;
    try {
      isMoreLeft = loop.turn(0);
    } finally {
      if (isMoreLeft) askForTurn();
    }
  };
  loop.onTask = askForTurn;
  const onReadable = uvLibrary.registerCallback({ arguments: ['pointer', 'int32', 'int32'], return: 'void' }, turn);
  const onClosed = uvLibrary.registerCallback({ arguments: ['pointer'], return: 'void' }, () => {
    setImmediate(() => {
      uvLibrary.unregisterCallback(onReadable);
      uvLibrary.unregisterCallback(onClosed);
      handle[Symbol.dispose]();
    });
  });
  // SAFETY: the handle's memory and both callbacks live until libuv has reported the handle closed.
  const failed =
    uv.uv_poll_init(getCurrentEventLoop(), handle.address, loop.fd) ||
    uv.uv_poll_start(handle.address, UV_READABLE, onReadable);
  if (failed !== 0) throw new SystemError('uv_poll_init', `error ${failed}`, 'this thread has no usable Node loop');
  // A thread that ends otherwise, by an uncaught exception or by process.exit, must not leave libuv with an open handle: Node aborts.
  const atExit = (): void => {
    riding = false;
    // SAFETY: the memory is never given back, since nothing is called that could; without a callback no JavaScript runs.
    uv.uv_poll_stop(handle.address);
    uv.uv_close(handle.address, null);
  };
  process.once('exit', atExit);
  return {
    [Symbol.dispose]: () => {
      if (!riding) return;
      riding = false;
      process.removeListener('exit', atExit);
      loop.onTask = undefined;
      // SAFETY: as above; the memory is given back in onClosed, not here.
      uv.uv_poll_stop(handle.address);
      uv.uv_close(handle.address, onClosed);
    },
  };
}
