// Upper floor: queue hosts on other threads, called by message and answered by message: who owns a queue never changes while it runs.
import type { QueueHost, QueueSetup, SharedRegion } from '../transports/queue/queue-host.ts';

/** A call as it crosses threads. `id` 0 wants no answer. */
export interface HostCall {
  readonly id: number;
  readonly method: HostMethod | 'refresh' | 'finish';
  readonly args: readonly unknown[];
}

export type HostMethod = keyof QueueHost;

export interface HostAnswer {
  readonly id: number;
  readonly base?: number;
  readonly broken?: boolean;
  readonly problem?: string;
}

/** Stands for the LocalQueueHost of another thread. */
export class RemoteQueueHost implements QueueHost {
  readonly #send: (call: HostCall) => void;
  readonly #waiting = new Map<number, (answer: HostAnswer) => void>();
  #lastId = 0;

  constructor(send: (call: HostCall) => void) {
    this.#send = send;
  }

  /** Takes an answer from the other thread. */
  answered(answer: HostAnswer): void {
    this.#waiting.get(answer.id)?.(answer);
    this.#waiting.delete(answer.id);
  }

  #call(method: HostCall['method'], args: readonly unknown[], done: (answer: HostAnswer) => void): void {
    const id = ++this.#lastId;
    this.#waiting.set(id, done);
    this.#send({ id, method, args });
  }

  setMemory(regions: readonly SharedRegion[], done: (problem?: Error) => void): void {
    this.#call('setMemory', [regions], ({ problem }) => done(problem === undefined ? undefined : new Error(problem)));
  }

  start(index: number, setup: QueueSetup, done: (problem?: Error) => void): void {
    this.#call('start', [index, setup], ({ problem }) => done(problem === undefined ? undefined : new Error(problem)));
  }

  stop(index: number, done: (base: number, broken: boolean) => void): void {
    this.#call('stop', [index], ({ base, broken }) => done(base as number, broken as boolean));
  }

  setCall(index: number, callFd: number | undefined, done: () => void): void {
    this.#call('setCall', [index, callFd], () => done());
  }

  activate(features: bigint): void {
    this.#send({ id: 0, method: 'activate', args: [features] });
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    this.#send({ id: 0, method: 'writeConfig', args: [offset, bytes] });
    return true;
  }

  reset(): void {
    this.#send({ id: 0, method: 'reset', args: [] });
  }

  /** Has the other thread look at its store's size again. */
  refresh(): void {
    this.#send({ id: 0, method: 'refresh', args: [] });
  }

  /** Has the other thread flush and end; `done` when it has. Nothing may be asked of it any more. */
  finish(done: () => void): void {
    this.#call('finish', [], () => done());
  }
}

/** Does what another thread's RemoteQueueHost asks, on the host of this one. */
export function serveHostCall(
  host: QueueHost,
  method: HostMethod,
  call: HostCall,
  answer: (answer: HostAnswer) => void,
): void {
  const { id, args } = call;
  const concluded = (problem?: Error): void =>
    answer(problem === undefined ? { id } : { id, problem: problem.message });
  const handlers: { readonly [method in HostMethod]: () => void } = {
    setMemory: () => host.setMemory(args[0] as SharedRegion[], concluded),
    start: () => host.start(args[0] as number, args[1] as QueueSetup, concluded),
    stop: () => host.stop(args[0] as number, (base, broken) => answer({ id, base, broken })),
    setCall: () => host.setCall(args[0] as number, args[1] as number | undefined, () => answer({ id })),
    activate: () => host.activate(args[0] as bigint),
    writeConfig: () => void host.writeConfig(args[0] as number, args[1] as Uint8Array),
    reset: () => host.reset(),
  };
  handlers[method]();
}
