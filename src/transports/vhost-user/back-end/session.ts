// Ground floor: one front end's session: what was negotiated, its memory table, its rings, and the start and stop of each.
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import { unofferedFeatures, type VirtioDevice } from '../../../virtio/device.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../../virtio/spec.ts';
import type { QueueHost, QueueSetup } from '../../queue/queue-host.ts';
import type { Outcome } from '../protocol/connection.ts';
import { encodeMessage, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import * as vu from '../protocol/spec.ts';
import { GuestRegions } from './guest-regions.ts';
import { Vring } from './vring.ts';

export type Done = (outcome: Outcome) => void;
export type Handler = (session: Session, message: Message, done: Done) => void;

/** What this back end can do beyond the base protocol. */
export const PROTOCOL_FEATURES =
  vu.PROTOCOL_F_MQ |
  vu.PROTOCOL_F_REPLY_ACK |
  vu.PROTOCOL_F_BACKEND_REQ |
  vu.PROTOCOL_F_CONFIG |
  vu.PROTOCOL_F_RESET_DEVICE |
  vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS |
  vu.PROTOCOL_F_STATUS;

export class Session {
  readonly device: VirtioDevice;
  readonly host: QueueHost;
  readonly vrings: readonly Vring[];
  readonly regions = new GuestRegions();
  readonly log: (line: string) => void;
  status = 0;
  #features = 0n;
  #backendSocket: UnixSocket | undefined;

  constructor(device: VirtioDevice, host: QueueHost, log: (line: string) => void) {
    this.device = device;
    this.host = host;
    this.log = log;
    this.vrings = device.queueSizes.map(() => new Vring());
    device.onConfigChange = () => this.#sendConfigChange();
  }

  get offeredFeatures(): bigint {
    return (
      this.device.features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | vu.F_PROTOCOL_FEATURES
    );
  }

  /** Takes the accepted features. Throws ProtocolError for one that was not offered. */
  acceptFeatures(features: bigint, done: Done): void {
    const extra = unofferedFeatures(features, this.offeredFeatures);
    if (extra !== 0n) throw new ProtocolError('SET_FEATURES', `feature bits 0x${extra.toString(16)} were not offered`);
    this.#features = features;
    this.host.activate(features);
    // "If VHOST_USER_F_PROTOCOL_FEATURES has not been negotiated, the ring starts directly in the enabled state."
    if ((features & vu.F_PROTOCOL_FEATURES) === 0n) for (const vring of this.vrings) vring.enabled = true;
    this.#each(
      (index, next) => this.startIfReady(index, next),
      (problem) => done(problem ? { problem } : {}),
    );
  }

  /** The ring a message names. Throws ProtocolError. */
  vring(message: Message, index: number): Vring {
    const vring = this.vrings[index];
    if (vring === undefined)
      throw new ProtocolError(vu.requestName(message.request), `queue ${index} of ${this.vrings.length}`);
    return vring;
  }

  /** Starts a ring if everything it needs has been said. `done` gets the front end's mistake, if it is one. */
  startIfReady(index: number, done: (problem?: Error) => void): void {
    const vring = this.vrings[index] as Vring;
    let setup: QueueSetup | undefined;
    try {
      setup = vring.running ? undefined : vring.setup(this.#features, this.regions);
    } catch (error) {
      return done(error as Error);
    }
    if (setup === undefined) return done();
    this.host.start(index, setup, (problem) => {
      vring.running = problem === undefined;
      done(problem);
    });
  }

  /** Stops a ring if it runs, and keeps how far it got. A broken one would break again: it waits for a new SET_VRING_KICK. */
  stop(index: number, done: () => void): void {
    const vring = this.vrings[index] as Vring;
    if (!vring.running) return done();
    this.host.stop(index, (base, broken) => {
      vring.running = false;
      vring.base = base;
      if (broken) vring.setKick(undefined);
      done();
    });
  }

  /** Changes something of a ring that may run: stops it, changes, and starts it again if it can. */
  change(index: number, change: () => void, done: Done): void {
    this.stop(index, () => {
      change();
      this.startIfReady(index, (problem) => done(problem ? { problem } : {}));
    });
  }

  /** Changes the memory table, which every ring stands on. What `change` throws is the front end's mistake. */
  changeMemory({ request }: Message, change: () => void, done: Done): void {
    const conclude = (problem?: Error): void => done(problem ? { problem } : {});
    this.stopAll(() => {
      try {
        change();
      } catch (error) {
        return conclude(error as Error);
      }
      this.host.setMemory(this.regions.shared, (problem) => {
        if (problem !== undefined) return conclude(new ProtocolError(vu.requestName(request), problem.message));
        // A ring that stands in none of the regions waits: they come and go one by one, and what is replaced goes first.
        const unlessOutside = (next: (problem?: Error) => void) => (outside?: Error) =>
          next(outside instanceof ProtocolError ? undefined : outside);
        this.#each((index, next) => this.startIfReady(index, unlessOutside(next)), conclude);
      });
    });
  }

  stopAll(done: () => void): void {
    this.#each((index, next) => this.stop(index, next), done);
  }

  /** Runs a step for every ring, one after the other, until one has a problem. */
  #each(step: (index: number, next: (problem?: Error) => void) => void, done: (problem?: Error) => void): void {
    const from = (index: number): void => {
      for (let i = index; i < this.vrings.length; i++) {
        let now = true;
        let answered = false;
        let failed: Error | undefined;
        step(i, (problem) => {
          answered = true;
          failed = problem;
          if (!now) problem === undefined ? from(i + 1) : done(problem);
        });
        now = false;
        if (!answered) return;
        if (failed !== undefined) return done(failed);
      }
      done();
    };
    from(0);
  }

  /** Everything back to its initial state; the connection stays. */
  reset(done: () => void): void {
    this.stopAll(() => {
      for (const vring of this.vrings) vring.clear();
      this.status = 0;
      this.host.reset();
      done();
    });
  }

  setBackendSocket(socket: UnixSocket): void {
    this.#backendSocket?.[Symbol.dispose]();
    this.#backendSocket = socket;
  }

  #sendConfigChange(): void {
    try {
      this.#backendSocket?.send(encodeMessage(vu.BackendRequest.CONFIG_CHANGE_MSG, 0, new Uint8Array(0)));
    } catch (error) {
      this.log(`the front end was not told of the configuration change: ${(error as Error).message}`);
    }
  }

  /** Ends it: rings stopped, memory given back, descriptors closed. */
  end(done: () => void): void {
    this.device.onConfigChange = undefined;
    this.reset(() => {
      for (const vring of this.vrings) vring.close();
      this.regions.clear();
      this.#backendSocket?.[Symbol.dispose]();
      this.host.setMemory([], () => done());
    });
  }
}
