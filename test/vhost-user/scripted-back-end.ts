// test/vhost-user: a back end that replies to everything and serves nothing; it disconnects, or refuses, on request.
import { fstatSync } from 'node:fs';
import type { EventLoop } from '../../src/sys/event-loop.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { UnixListener, type UnixSocket } from '../../src/sys/unix-socket.ts';
import { Connection, type Outcome } from '../../src/transports/vhost-user/protocol/connection.ts';
import {
  decodeInflight,
  encodeConfig,
  encodeInflight,
  encodeMessage,
  encodeU64,
  encodeVringState,
  type Message,
} from '../../src/transports/vhost-user/protocol/message.ts';
import * as vu from '../../src/transports/vhost-user/protocol/spec.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';

const { Request } = vu;
const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | vu.F_PROTOCOL_FEATURES;
const NOTES_BYTES = 4096;

export interface Script {
  /** Of the device; those of the ring are offered besides. */
  readonly features?: bigint;
  readonly protocolFeatures: bigint;
  readonly queues?: number;
  readonly config?: Uint8Array;
  /** The message at which it closes the connection, or which it refuses; a name as in `SET_VRING_KICK`. */
  readonly leavesAt?: string;
  readonly refuses?: string;
}

export class ScriptedBackEnd implements Disposable {
  /** The names of the messages it received, in order. */
  readonly said: string[] = [];
  /** The inode of the notes of requests in flight that it was given. */
  notes: number | undefined;
  /** Of the queue that was named last. */
  base: number | undefined;
  readonly #script: Script;
  readonly #listener: UnixListener;
  readonly #watch: Disposable;
  #connection: Connection | undefined;

  constructor(loop: EventLoop, path: string, script: Script) {
    this.#script = script;
    this.#listener = UnixListener.listen(path);
    this.#watch = loop.watch(this.#listener.fd, {
      readable: () => {
        const socket = this.#listener.accept();
        if (socket === undefined) return;
        this.#connection = new Connection(socket, loop, {
          onMessage: (message) => this.#onMessage(socket, message),
          onClosed: () => {},
        });
      },
    });
  }

  #onMessage(socket: UnixSocket, message: Message): Outcome {
    const name = vu.requestName(message.request);
    this.said.push(name);
    if (name === this.#script.leavesAt) this.#connection?.close(undefined);
    if (message.request === Request.GET_INFLIGHT_FD) sendNotes(socket, message);
    return name === this.#script.refuses ? { ack: 1n } : this.#answer(message);
  }

  #answer({ request, payload, fds }: Message): Outcome {
    const { features = 0n, protocolFeatures, queues = 1, config = new Uint8Array(0) } = this.#script;
    if (request === Request.GET_FEATURES) return { reply: encodeU64(features | RING_FEATURES) };
    if (request === Request.GET_PROTOCOL_FEATURES) return { reply: encodeU64(protocolFeatures) };
    if (request === Request.GET_QUEUE_NUM) return { reply: encodeU64(BigInt(queues)) };
    if (request === Request.GET_MAX_MEM_SLOTS) return { reply: encodeU64(8n) };
    if (request === Request.GET_CONFIG) {
      const bytes = new Uint8Array(payload.byteLength - 12);
      bytes.set(config.subarray(0, bytes.length));
      return { reply: encodeConfig(0, bytes) };
    }
    if (request === Request.GET_VRING_BASE)
      return { reply: encodeVringState(payload.getUint32(0, true), this.base ?? 0) };
    if (request === Request.SET_INFLIGHT_FD) this.notes = fstatSync(fds[0] as number).ino;
    if (request === Request.SET_VRING_BASE) this.base = payload.getUint32(4, true);
    return {};
  }

  /** Ends: the connection too. */
  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
    this.#connection?.close(undefined);
  }
}

function sendNotes(socket: UnixSocket, { request, payload }: Message): void {
  const fd = createMemfd('notes', NOTES_BYTES);
  const { queues = 0, queueSize = 0 } = decodeInflight(payload) ?? {};
  const notes = encodeInflight({ mmapSize: NOTES_BYTES, mmapOffset: 0, queues, queueSize });
  socket.send(encodeMessage(request, vu.REPLY, notes), [fd]);
  closeFd(fd);
}
