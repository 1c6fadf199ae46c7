// Upper floor: how `serve` ends: in order if it can, after a time of grace if it cannot, at once when it is told twice.
import type { ServedDevice } from '../daemon/served-device.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { exitAfterOutput } from './exit.ts';
import type { ServeReport } from './serve-report.ts';

/** An end that takes longer than this says what it waits for. */
const TOLD_MS = 1000;

export class ServiceEnd {
  readonly #report: ServeReport;
  readonly #graceSeconds: number;
  #device: ServedDevice | undefined;
  #giveBack: (() => void) | undefined;
  #isEnding = false;

  /** Listens to SIGTERM and SIGINT from now on. */
  constructor(report: ServeReport, graceSeconds: number) {
    this.#report = report;
    this.#graceSeconds = graceSeconds;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#told(signal));
  }

  /** What is to be ended. @param giveBack called before it is given up. */
  of(device: ServedDevice, giveBack: () => void): void {
    this.#device = device;
    this.#giveBack = giveBack;
    if (this.#isEnding) void device.close();
  }

  #told(signal: string): void {
    if (this.#isEnding) return this.#giveUp(`a second ${signal}: requests in flight are not waited for`);
    this.#isEnding = true;
    serviceManager.notify('STOPPING=1');
    setTimeout(() => this.#tell(), Math.min(TOLD_MS, this.#graceSeconds * 1000)).unref();
    const late = `requests in flight were waited for ${this.#graceSeconds} s (--stop-timeout)`;
    setTimeout(() => this.#giveUp(late), this.#graceSeconds * 1000).unref();
    void this.#device?.close();
  }

  /** The queues say themselves what they wait for. */
  #tell(): void {
    this.#report.log(
      `requests in flight are waited for up to ${this.#graceSeconds} s; a second signal does not wait for them`,
      { event: 'stopping' },
    );
  }

  /** Exit code 1: what a guest was promised may not be durable. */
  #giveUp(why: string): void {
    this.#giveBack?.();
    this.#report.log(`ended without finishing: ${why}`, { event: 'given-up' });
    void exitAfterOutput(1);
  }
}
