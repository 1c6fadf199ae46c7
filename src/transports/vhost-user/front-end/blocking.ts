// vhost-user/front-end: a vhost-user front end that blocks its thread for each answer: for a benchmark, a script, a test.
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { PROTOCOL_F_INFLIGHT_SHMFD } from '../protocol/spec.ts';
import { BlockingChannel } from './blocking-channel.ts';
import { InflightArea } from './inflight-area.ts';
import { DEFAULT_PROTOCOL_FEATURES, FrontEndRequests } from './requests.ts';

export interface FrontEndOptions {
  /** Limit for each answer. Default: 5 s. */
  readonly timeoutMs?: number;
  /** The protocol features to use where they are offered. Default: MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS. */
  readonly protocolFeatures?: bigint;
  /** Whether to use INFLIGHT_SHMFD as well, where it is offered: see `shareInflight`. Default: false. */
  readonly inFlight?: boolean;
}

/** A front end whose promises resolve without Node's loop: it blocks the thread until each answer. */
export class VhostUserFrontEnd extends FrontEndRequests implements Disposable {
  /** For messages without a method of their own. */
  readonly channel: BlockingChannel;
  #inflight: InflightArea | undefined;

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
      wantedFeatures(options),
    );
    try {
      await frontEnd.negotiate();
      return frontEnd;
    } catch (error) {
      frontEnd[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Has the back end record its requests in flight in an area that this front end keeps. Before any queue starts.
   * Returns false where the back end does not offer that, or `inFlight` was not set. Rejects with BackEndError.
   */
  async shareInflight(queueSizes: readonly number[]): Promise<boolean> {
    this.#inflight ??= new InflightArea(queueSizes);
    await this.#inflight.share(this, false);
    return this.#inflight.isShared;
  }

  [Symbol.dispose](): void {
    this.#inflight?.[Symbol.dispose]();
    this.channel[Symbol.dispose]();
  }
}

function wantedFeatures({ protocolFeatures, inFlight = false }: FrontEndOptions): bigint | undefined {
  if (!inFlight) return protocolFeatures;
  return (protocolFeatures ?? DEFAULT_PROTOCOL_FEATURES) | PROTOCOL_F_INFLIGHT_SHMFD;
}
