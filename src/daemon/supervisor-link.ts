// daemon: a device process's link to its supervisor: when to serve, when to end. Without the supervisor it ends too.
import { exitNow } from '../sys/process-exit.ts';
import { CODES, RpcError } from './control/json-rpc.ts';
import { type FromDeviceProcess, LISTEN_FD, SUPERVISOR_VARIABLE, type ToDeviceProcess } from './supervision.ts';

export interface LinkEvents {
  /** Resolves to why another process cannot go on now; undefined: it can. */
  objection(): Promise<string | undefined>;
  /** End in order. May be called more than once. */
  onStop(isPassedOn: boolean): void;
  /** End without waiting for requests in flight. */
  onGiveUp(): void;
  /** Do what a request of the control socket says. */
  onCall(method: string, params: unknown): unknown;
}

export class SupervisorLink {
  /** The inherited listening socket. */
  readonly listenFd = LISTEN_FD;
  readonly #turn = Promise.withResolvers<void>();
  #events: LinkEvents | undefined;
  #isServing = false;

  private constructor() {
    process.on('message', (message) => this.#onMessage(message as ToDeviceProcess));
    // Nobody would start it again, and nobody else could serve its socket.
    process.on('disconnect', () => this.#stop(false));
  }

  /** Returns the link of a process that a supervisor started; undefined in any other. Call it once. */
  static ofThisProcess(): SupervisorLink | undefined {
    const supervisor = process.env[SUPERVISOR_VARIABLE];
    // A process that this one starts is not a device process.
    delete process.env[SUPERVISOR_VARIABLE];
    return supervisor === String(process.ppid) && process.connected ? new SupervisorLink() : undefined;
  }

  /** Resolves when it is this process's turn to serve, perhaps before it is `warm`. */
  get itsTurn(): Promise<void> {
    return this.#turn.promise;
  }

  /** Says that everything is loaded, and resolves when it is this process's turn. @param rehearsed requests. */
  async turn(version: string, rehearsed: number, events: LinkEvents): Promise<void> {
    this.#events = events;
    this.#send({ type: 'warm', version, rehearsed });
    await this.itsTurn;
  }

  /** Says that the device is served, and describes it. */
  ready(served: object): void {
    this.#send({ type: 'ready', served });
  }

  /** Says that the device is closed: another process may open it. */
  released(): void {
    this.#send({ type: 'released' });
  }

  /** Sends a STATUS for the service manager. */
  status(line: string): void {
    this.#send({ type: 'status', line });
  }

  /** Sends an event to the clients of the control socket. */
  event(event: object): void {
    this.#send({ type: 'event', event });
  }

  async #call(id: number, method: string, params: unknown): Promise<void> {
    try {
      this.#send({ type: 'answer', id, result: await this.#events?.onCall(method, params) });
    } catch (error) {
      const code = error instanceof RpcError ? error.rpcCode : CODES.failed;
      this.#send({ type: 'answer', id, problem: { code, message: (error as Error).message } });
    }
  }

  #send(message: FromDeviceProcess): void {
    // The supervisor's death is handled at `disconnect`.
    if (process.connected) process.send?.(message, undefined, {}, () => {});
  }

  #onMessage(message: ToDeviceProcess): void {
    if (message.type === 'serve') {
      this.#isServing = true;
      this.#turn.resolve();
    } else if (message.type === 'stop') this.#stop(false);
    else if (message.type === 'pass-on') void this.#passOn();
    else if (message.type === 'give-up') this.#events?.onGiveUp();
    else if (message.type === 'call') void this.#call(message.id, message.method, message.params);
    // As if it had been sent to this process.
    else if (message.type === 'signal') process.emit(message.signal, message.signal);
  }

  async #passOn(): Promise<void> {
    const line = this.#isServing ? await this.#events?.objection() : undefined;
    if (line === undefined) this.#stop(true);
    else this.#send({ type: 'refused', line });
  }

  #stop(isPassedOn: boolean): void {
    // It has opened nothing yet.
    if (!this.#isServing) exitNow(0);
    this.#events?.onStop(isPassedOn);
  }
}
