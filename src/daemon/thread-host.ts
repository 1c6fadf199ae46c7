// daemon: a DeviceHost on another thread, called through messages.
import type {
  CallTarget,
  DeviceEvents,
  DeviceHost,
  DeviceTraits,
  DirtyLogPart,
  QueueSetup,
  QueueStop,
  SharedRegion,
} from '../transports/queue/queue-host.ts';

/** The methods of the other thread. `finish` flushes and ends it; no call may follow. */
export interface ThreadMethods {
  setMemory(regions: readonly SharedRegion[], dirtyLog?: DirtyLogPart): Promise<void>;
  start(index: number, setup: QueueSetup): Promise<void>;
  stop(index: number): Promise<QueueStop>;
  setCall(index: number, call: CallTarget | undefined): Promise<void>;
  activate(features: bigint): Promise<void>;
  writeConfig(offset: number, bytes: Uint8Array): Promise<boolean>;
  reset(): Promise<void>;
  refresh(): Promise<void>;
  finish(): Promise<void>;
}

type Method = keyof ThreadMethods;

/** A call as it crosses threads. */
export interface HostCall {
  readonly id: number;
  readonly method: Method;
  readonly args: readonly unknown[];
}

/** The answer to the call with this id. `problem` is the message of the error that it threw. */
export interface HostAnswer {
  readonly id: number;
  readonly result?: unknown;
  readonly problem?: string;
}

/** Proxy of the LocalHost of another thread. */
export class ThreadHost implements DeviceHost, ThreadMethods {
  readonly device: DeviceTraits;
  /** Unused: only the device on the device thread raises events. */
  events: DeviceEvents | undefined;
  readonly #send: (call: HostCall) => void;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  constructor(device: DeviceTraits, send: (call: HostCall) => void) {
    this.device = device;
    this.#send = send;
  }

  /** Takes an answer from the other thread. */
  answered({ id, result, problem }: HostAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (problem === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(problem));
  }

  #call<Name extends Method>(method: Name, ...args: Parameters<ThreadMethods[Name]>): ReturnType<ThreadMethods[Name]> {
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#send({ id, method, args });
    return answer.promise as ReturnType<ThreadMethods[Name]>;
  }

  readonly setMemory = (regions: readonly SharedRegion[], dirtyLog?: DirtyLogPart) =>
    this.#call('setMemory', regions, dirtyLog);
  readonly start = (index: number, setup: QueueSetup) => this.#call('start', index, setup);
  readonly stop = (index: number) => this.#call('stop', index);
  readonly setCall = (index: number, call: CallTarget | undefined) => this.#call('setCall', index, call);
  readonly activate = (features: bigint) => this.#call('activate', features);
  readonly writeConfig = (offset: number, bytes: Uint8Array) => this.#call('writeConfig', offset, bytes);
  readonly reset = () => this.#call('reset');
  readonly refresh = () => this.#call('refresh');
  readonly finish = () => this.#call('finish');
}

/** Executes a call of another thread's ThreadHost on this thread's host. Never rejects. */
export async function answerHostCall(methods: ThreadMethods, { id, method, args }: HostCall): Promise<HostAnswer> {
  try {
    const call = methods[method] as (...args: readonly unknown[]) => Promise<unknown>;
    return { id, result: await call.apply(methods, [...args]) };
  } catch (problem) {
    return { id, problem: (problem as Error).message };
  }
}
