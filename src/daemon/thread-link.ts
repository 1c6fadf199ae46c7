// Upper floor: messages between two threads of which the receiver sleeps in epoll: a port carries them, an eventfd wakes.
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { EventFd } from '../sys/event-fd.ts';
import type { EventLoop } from '../sys/event-loop.ts';

/** One end of a link as it is handed to a thread: structured-cloneable but for the port, which is transferred. */
export interface LinkEnd {
  readonly port: MessagePort;
  /** Rung by the other end after each message. */
  readonly wakeFd: number;
}

/** Sends to an end that sleeps in an EventLoop. */
export class LinkSender<Message> {
  readonly #port: MessagePort;
  readonly #wake: EventFd;

  /** The descriptor stays the caller's. */
  constructor(port: MessagePort, wakeFd: number) {
    this.#port = port;
    this.#wake = EventFd.borrow(wakeFd);
  }

  send(message: Message): void {
    this.#port.postMessage(message);
    this.#wake.signal();
  }
}

/** Hands what arrives at an end to `onMessage`, on the loop's thread, until disposed. */
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
