// Ground floor: a vhost-user front end that blocks its thread for each answer: for a benchmark, a script, a test.
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { type Dialogue, FrontEndDialogue, type QueueStart, type SharedRegion } from './front-end-dialogue.ts';
import { FrontEndChannel } from './frontend-channel.ts';

export interface FrontEndOptions {
  /** How long to wait for each answer. 5 s unless said. */
  readonly timeoutMs?: number;
  /** The protocol features to use where they are offered: MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS unless said. */
  readonly protocolFeatures?: bigint;
}

export class VhostUserFrontEnd implements Disposable {
  /** For messages this class has no method for. */
  readonly channel: FrontEndChannel;
  readonly #dialogue: FrontEndDialogue;

  private constructor(channel: FrontEndChannel, protocolFeatures: bigint | undefined) {
    this.channel = channel;
    this.#dialogue = new FrontEndDialogue(protocolFeatures);
    this.#carry(this.#dialogue.negotiate());
  }

  /**
   * Connects and negotiates the protocol. It blocks its thread for each answer, so the back end lives in another.
   * Throws SystemError (nobody listens) or BackEndError.
   */
  static connect(path: string, options: FrontEndOptions = {}): VhostUserFrontEnd {
    return VhostUserFrontEnd.negotiate(UnixSocket.connect(path), options);
  }

  /** As `connect`, on a connected socket that belongs to the front end from now on. Throws BackEndError. */
  static negotiate(socket: UnixSocket, options: FrontEndOptions = {}): VhostUserFrontEnd {
    const channel = new FrontEndChannel(socket, options.timeoutMs ?? 5000);
    try {
      return new VhostUserFrontEnd(channel, options.protocolFeatures);
    } catch (error) {
      channel[Symbol.dispose]();
      throw error;
    }
  }

  /** The device's features, transport bits included. */
  get offeredFeatures(): bigint {
    return this.#dialogue.offeredFeatures;
  }

  /** The protocol features in use: offered and wanted. */
  get protocolFeatures(): bigint {
    return this.#dialogue.protocolFeatures;
  }

  /** How many queues the back end says it has; undefined when it does not say. */
  get queueCount(): number | undefined {
    return this.#dialogue.queueCount;
  }

  /** Reads `sizeBytes` at `offset` of the device configuration space. Throws BackEndError. */
  readConfig(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    return this.#carry(this.#dialogue.readConfig(offset, sizeBytes));
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.#carry(this.#dialogue.writeConfig(offset, bytes));
  }

  /** Accepts features; the transport's own bit is added where it was offered. */
  setFeatures(features: bigint): void {
    this.#carry(this.#dialogue.setFeatures(features));
  }

  /** Shares memory, all of it at once and while no queue runs. The descriptors stay the caller's. */
  shareMemory(regions: readonly SharedRegion[]): void {
    this.#carry(this.#dialogue.shareMemory(regions));
  }

  /** Describes a queue, hands over its eventfds, enables it. Throws BackEndError; RangeError for memory not shared. */
  startQueue(index: number, queue: QueueStart): void {
    this.#carry(this.#dialogue.startQueue(index, queue));
  }

  enableQueue(index: number, enabled: boolean): void {
    this.#carry(this.#dialogue.enableQueue(index, enabled));
  }

  /** Stops a queue and gives the available index from which to go on. */
  stopQueue(index: number): number {
    return this.#carry(this.#dialogue.stopQueue(index));
  }

  #carry<T>(dialogue: Dialogue<T>): T {
    let step = dialogue.next();
    while (step.done !== true) {
      const { request, payload, fds, flags, isQuestion } = step.value;
      this.channel.send(request, payload, fds, flags);
      step = dialogue.next(isQuestion ? this.channel.receiveReply(request) : undefined);
    }
    return step.value;
  }

  [Symbol.dispose](): void {
    this.channel[Symbol.dispose]();
  }
}
