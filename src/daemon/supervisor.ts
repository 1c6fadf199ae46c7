// daemon: keeps a device served: starts device processes one after the other, with one in reserve, and passes on from
// one version to the next.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../virtio/log.ts';
import { BackOff } from './back-off.ts';
import type { DeviceProcess, ProcessExit } from './device-process.ts';
import type { PassedSignal } from './supervision.ts';

export interface SupervisorOptions {
  /** Starts a device process from the files that are on the disk now. */
  readonly start: () => DeviceProcess;
  readonly log: Log;
  /** The first process serves. `served`: its description of the device. */
  readonly onReady: (served: unknown, pid: number) => void;
  /** How long a process may take to end, from `stop` until it is killed. */
  readonly endMs: number;
}

/** The one in reserve starts so long after a process began to serve, so that it does not delay its first requests. */
const STANDBY_AFTER_MS = 500;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #backOff = new BackOff();
  readonly #standbyBackOff = new BackOff();
  /** The process whose turn it is; perhaps not ready yet, perhaps dead. */
  #current: DeviceProcess | undefined;
  /** The process whose turn is next. */
  #standby: DeviceProcess | undefined;
  /** During an upgrade: the standby of the old version, in case that the new one cannot serve. */
  #spare: DeviceProcess | undefined;
  /** When the last process died, or was told to leave. */
  #gapSinceMs = 0;
  #hasServed = false;
  #isUpgrading = false;
  /** Aborted when the supervisor is to end. */
  readonly #end = new AbortController();
  /** Aborted to start the next process at once. */
  #delay = new AbortController();

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Keeps the device served until `stop`, or until a process ended in order. Resolves to the exit code. */
  async run(): Promise<number> {
    try {
      for (;;) {
        const process = this.#next();
        this.#current = process;
        process.serve();
        void this.#whenReady(process);
        const { code } = await Promise.race([process.exited, this.#passedOn(process)]);
        this.#gapSinceMs = process.passedOnMs ?? performance.now();
        const result = await this.#resultOf(process, code);
        if (result !== undefined) return result;
      }
    } finally {
      this.#end.abort();
      for (const idle of [this.#standby, this.#spare]) idle?.kill();
    }
  }

  /** Resolves when a process has closed the device for the next one. Its end, which takes longer, is not waited for. */
  async #passedOn(process: DeviceProcess): Promise<ProcessExit> {
    await process.released;
    if (process.passedOnMs === undefined) return process.exited;
    return { code: 0, signal: null };
  }

  /** What follows from the end of a process: an exit code, or undefined to start the next one. */
  async #resultOf(process: DeviceProcess, code: number | null): Promise<number | undefined> {
    if (this.#end.signal.aborted) return this.#finally(process, code ?? 1);
    if (process.passedOnMs !== undefined) return undefined;
    // It was asked to end, or served its one front end (--once).
    if (code === 0) return this.#finally(process, 0);
    const isUpgrade = process.readyMs === undefined && this.#spare?.isAlive === true;
    if (isUpgrade) return undefined;
    // The command line is wrong, or the device cannot be opened and never could.
    if (code === 2 || (code !== null && !this.#hasServed)) return this.#finally(process, code);
    const ranMs = process.readyMs === undefined ? 0 : performance.now() - process.readyMs;
    await this.#pause(process, this.#backOff.after(ranMs));
    return this.#end.signal.aborted ? 0 : undefined;
  }

  /** Its last lines are passed on first. */
  async #finally(process: DeviceProcess, code: number): Promise<number> {
    await process.reason();
    return code;
  }

  /** Logs the death of a process, and waits before the next one is started. */
  async #pause(process: DeviceProcess, delayMs: number): Promise<void> {
    const again = delayMs === 0 ? 'at once' : `in ${delayMs / 1000} s`;
    void process.reason().then((reason) => {
      const line = `the device process ${process.pid} died (${reason}); another one serves ${again}`;
      this.#options.log(line, { event: 'died', pid: process.pid, delayMs });
    });
    if (delayMs === 0) return;
    this.#delay = new AbortController();
    const signal = AbortSignal.any([this.#delay.signal, this.#end.signal]);
    await sleep(delayMs, undefined, { signal }).catch(() => {});
  }

  /** The standby, if it lives; that of the old version; or a new process. */
  #next(): DeviceProcess {
    const next = [this.#standby, this.#spare].find((idle) => idle?.isAlive);
    if (next === this.#standby) this.#standby = undefined;
    if (next === this.#spare) this.#spare = undefined;
    return next ?? this.#options.start();
  }

  async #whenReady(process: DeviceProcess): Promise<void> {
    try {
      const served = await process.ready;
      if (!this.#hasServed) this.#options.onReady(served, process.pid);
      else this.#logReady(process, (await process.warm).version, performance.now() - this.#gapSinceMs);
      this.#hasServed = true;
      await sleep(STANDBY_AFTER_MS, undefined, { signal: this.#end.signal });
      this.#keepStandby();
    } catch {
      // It died before it served, which `run` sees, or this is the end.
    }
  }

  #logReady({ pid }: DeviceProcess, version: string, pauseMs: number): void {
    const line = `the device process ${pid} serves (Belfry ${version}), after ${Math.round(pauseMs)} ms`;
    this.#options.log(line, { event: 'restarted', pid, version, pauseMs: Math.round(pauseMs) });
  }

  /** Starts a standby unless there is one. */
  #keepStandby(): void {
    if (this.#end.signal.aborted || this.#standby?.isAlive) return;
    const standby = this.#options.start();
    this.#standby = standby;
    const { log } = this.#options;
    const startedMs = performance.now();
    standby.warm.then(
      ({ rehearsed }) => {
        const { pid } = standby;
        log(`the device process ${pid} stands by`, { event: 'standby', pid, rehearsed });
      },
      () => {},
    );
    void standby.exited.then(async () => {
      // It had its turn, or an upgrade has replaced it.
      if (this.#standby !== standby || this.#end.signal.aborted) return;
      this.#standby = undefined;
      const delayMs = this.#standbyBackOff.after(performance.now() - startedMs);
      log(`the standby ${standby.pid} died (${await standby.reason()})`, { event: 'died', pid: standby.pid, delayMs });
      await sleep(delayMs, undefined, { signal: this.#end.signal }).catch(() => {});
      this.#keepStandby();
    });
  }

  /**
   * Has a process from the files that are on the disk now take over. Resolves to its version when it serves. Rejects
   * with one line when it cannot; the old version then goes on.
   */
  async upgrade(): Promise<string> {
    if (this.#isUpgrading) throw new Error('another upgrade is under way: wait for its end');
    this.#isUpgrading = true;
    try {
      return await this.#replace();
    } catch (error) {
      const { message } = error as Error;
      this.#options.log(`the upgrade failed, and the version before goes on: ${message}`, { event: 'upgrade-failed' });
      throw error;
    } finally {
      this.#spare?.kill();
      this.#spare = undefined;
      this.#isUpgrading = false;
    }
  }

  async #replace(): Promise<string> {
    const next = this.#options.start();
    const abandon = (): void => next.kill();
    this.#end.signal.addEventListener('abort', abandon);
    const { version } = await next.warm;
    // From now on the next turn is its.
    this.#spare = this.#standby;
    this.#standby = next;
    this.#delay.abort();
    // It may be just about to serve, or have died just now.
    const current = this.#current;
    await current?.ready.catch(() => {});
    const late = setTimeout(() => current?.kill(), this.#options.endMs).unref();
    try {
      await current?.passOn();
    } catch (refusal) {
      clearTimeout(late);
      this.#end.signal.removeEventListener('abort', abandon);
      abandon();
      [this.#standby, this.#spare] = [this.#spare, undefined];
      this.#keepStandby();
      throw refusal;
    }
    await next.ready;
    this.#end.signal.removeEventListener('abort', abandon);
    return version;
  }

  /** Has the process that serves do what a request of the control socket says. */
  async call(method: string, params: unknown): Promise<unknown> {
    if (this.#current?.readyMs === undefined) throw new Error('no device process serves now: try again');
    return this.#current.call(method, params);
  }

  /** Sends a signal to the process that serves. */
  signal(signal: PassedSignal): void {
    this.#current?.signal(signal);
  }

  /** Ends in order; a second call does not wait for requests in flight. */
  stop(): void {
    if (this.#end.signal.aborted) return this.#current?.giveUp();
    this.#end.abort();
    this.#current?.stop();
    setTimeout(() => this.#current?.kill(), this.#options.endMs).unref();
  }
}
