// vhost-user/front-end: a vhost-user front end that blocks its thread for each answer: for a benchmark, a script, a test.
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { BlockingChannel } from './blocking-channel.ts';
import { FrontEndRequests } from './requests.ts';

export interface FrontEndOptions {
  /** Limit for each answer. Default: 5 s. */
  readonly timeoutMs?: number;
  /** The protocol features to use where they are offered. Default: MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS. */
  readonly protocolFeatures?: bigint;
}

/** A front end whose promises resolve without Node's loop: it blocks the thread until each answer. */
export class VhostUserFrontEnd extends FrontEndRequests implements Disposable {
  /** For messages without a method of their own. */
  readonly channel: BlockingChannel;

  private constructor(channel: BlockingChannel, protocolFeatures: bigint | undefined) {
    super(channel, protocolFeatures);
    this.channel = channel;
  }

  /**
   * Connects and negotiates the protocol. It blocks its thread for each answer, so the back end has to run on another
   * one. Rejects with SystemError (nothing listens) or BackEndError.
   */
  static async connect(path: string, options: FrontEndOptions = {}): Promise<VhostUserFrontEnd> {
    return VhostUserFrontEnd.on(UnixSocket.connect(path), options);
  }

  /** As `connect`, on a connected socket, which the front end takes over. Rejects with BackEndError. */
  static async on(socket: UnixSocket, options: FrontEndOptions = {}): Promise<VhostUserFrontEnd> {
    const frontEnd = new VhostUserFrontEnd(
      new BlockingChannel(socket, options.timeoutMs ?? 5000),
      options.protocolFeatures,
    );
    try {
      await frontEnd.negotiate();
      return frontEnd;
    } catch (error) {
      frontEnd[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.channel[Symbol.dispose]();
  }
}
