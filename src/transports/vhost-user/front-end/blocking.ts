// Ground floor: a vhost-user front end that blocks its thread for each answer: for a benchmark, a script, a test.
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { BlockingChannel } from './blocking-channel.ts';
import { FrontEndRequests } from './requests.ts';

export interface FrontEndOptions {
  /** How long to wait for each answer. 5 s unless said. */
  readonly timeoutMs?: number;
  /** The protocol features to use where they are offered: MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS unless said. */
  readonly protocolFeatures?: bigint;
}

/** Its promises are fulfilled without Node's loop: the thread has waited already. */
export class VhostUserFrontEnd extends FrontEndRequests implements Disposable {
  /** For messages this class has no method for. */
  readonly channel: BlockingChannel;

  private constructor(channel: BlockingChannel, protocolFeatures: bigint | undefined) {
    super(channel, protocolFeatures);
    this.channel = channel;
  }

  /**
   * Connects and negotiates the protocol. It blocks its thread for each answer, so the back end lives in another.
   * Rejects with SystemError (nothing listens) or BackEndError.
   */
  static async connect(path: string, options: FrontEndOptions = {}): Promise<VhostUserFrontEnd> {
    return VhostUserFrontEnd.on(UnixSocket.connect(path), options);
  }

  /** As `connect`, on a connected socket that belongs to the front end from now on. Rejects with BackEndError. */
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
