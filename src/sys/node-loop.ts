// sys: runs an EventLoop inside Node's own loop: libuv watches the descriptor of its epoll set.
import { DynamicLibrary, getCurrentEventLoop } from 'node:ffi';
import type { EventLoop } from './event-loop.ts';
import { SystemError } from './libc.ts';
import { Scratch } from './scratch.ts';

const UV_POLL = 8;
const UV_READABLE = 1;

// SAFETY: libuv's symbols belong to the node executable, which is never unloaded; the signatures are those of uv.h.
const uvLibrary = new DynamicLibrary(null);
const uv = uvLibrary.getFunctions({
  uv_handle_size: { return: 'uint64', arguments: ['int32'] },
  uv_poll_init: { return: 'int32', arguments: ['pointer', 'pointer', 'int32'] },
  uv_poll_start: { return: 'int32', arguments: ['pointer', 'int32', 'pointer'] },
  uv_poll_stop: { return: 'int32', arguments: ['pointer'] },
  uv_close: { return: 'void', arguments: ['pointer', 'pointer'] },
});

/**
 * Runs the turns of `loop` inside this thread's Node loop until disposed. Keeps the process alive, as a listening
 * socket does. Throws SystemError.
 */
export function rideNodeLoop(loop: EventLoop): Disposable {
  const handle = new Scratch(Number(uv.uv_handle_size(UV_POLL)));
  let isActive = true;
  const turn = (): void => {
    if (!isActive) return;
    try {
      loop.turn(0);
    } catch (error) {
      // Node aborts when a native callback throws. Thrown from an immediate, this is an ordinary uncaught exception.
      setImmediate(() => {
        throw error;
      });
    }
    // Promises that a native callback settles go on only in Node's next turn.
    scheduleTurn();
  };
  let isScheduled = false;
  const scheduleTurn = (): void => {
    if (!isScheduled) setImmediate(again);
    isScheduled = true;
  };
  const again = (): void => {
    isScheduled = false;
    if (!isActive) return;
    let hasTasks = true;
    try {
      hasTasks = loop.turn(0);
    } finally {
      if (hasTasks) scheduleTurn();
    }
  };
  loop.onTask = scheduleTurn;
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
  // A thread that ends by an uncaught exception or by process.exit must close its handle: Node aborts otherwise.
  const atExit = (): void => {
    isActive = false;
    // SAFETY: the memory is never unmapped, since `onClosed` is not called; without a callback no JavaScript runs.
    uv.uv_poll_stop(handle.address);
    uv.uv_close(handle.address, null);
  };
  process.once('exit', atExit);
  return {
    [Symbol.dispose]: () => {
      if (!isActive) return;
      isActive = false;
      process.removeListener('exit', atExit);
      loop.onTask = undefined;
      // SAFETY: as above; the memory is unmapped in onClosed, not here.
      uv.uv_poll_stop(handle.address);
      uv.uv_close(handle.address, onClosed);
    },
  };
}
