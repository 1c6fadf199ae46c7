// daemon: messages to a thread that sleeps in epoll: a port carries them, an eventfd wakes the thread.
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { EventFd } from '../sys/event-fd.ts';
import type { EventLoop } from '../sys/event-loop.ts';

/** One end of a link, as it is passed to a thread: the port is transferred, the rest cloned. */
export interface LinkEnd {
  readonly port: MessagePort;
  /** Eventfd that the other end signals after each message. */
  readonly wakeFd: number;
}

/** Sends messages to a thread that sleeps in an EventLoop. */
export class LinkSender<Message> {
  readonly #port: MessagePort;
  readonly #wake: EventFd;

  /** The caller keeps the descriptor. */
  constructor(port: MessagePort, wakeFd: number) {
    this.#port = port;
    this.#wake = EventFd.borrow(wakeFd);
  }

  send(message: Message): void {
    this.#port.postMessage(message);
    this.#wake.signal();
  }
}

/** Calls `onMessage` for each message, on the loop's thread, until disposed. */
export function receiveOn<Message>(loop: EventLoop, end: LinkEnd, onMessage: (message: Message) => void): Disposable {
  const wake = EventFd.borrow(end.wakeFd);
  return loop.watch(end.wakeFd, {
    readable: () => {
      wake.clear();
      for (let next = receiveMessageOnPort(end.port); next !== undefined; next = receiveMessageOnPort(end.port))
        onMessage(next.message as Message);
    },
  });
}
