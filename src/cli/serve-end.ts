// cli: how `serve` ends: in order, or after --stop-timeout, or at once on a second signal.
import type { ServedDevice } from '../daemon/served-device.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { exitAfterOutput } from './exit.ts';
import type { ServeReport } from './serve-report.ts';

/** Ending that takes longer than this is logged. */
const REPORT_AFTER_MS = 1000;

export class ServiceEnd {
  readonly #report: ServeReport;
  readonly #graceSeconds: number;
  #device: Pick<ServedDevice, 'close'> | undefined;
  #restore: (() => void) | undefined;
  #isEnding = false;
  /** A supervisor's order to end is none: systemd may send one to this process besides. */
  #signals = 0;

  /** Installs handlers of SIGTERM and SIGINT. */
  constructor(report: ServeReport, graceSeconds: number) {
    this.#report = report;
    this.#graceSeconds = graceSeconds;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#onSignal(signal));
  }

  /** Ends in order. Further calls change nothing. @param isPassedOn as in `ServedDevice.close`. */
  begin(isPassedOn: boolean): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    serviceManager.notify('STOPPING=1');
    setTimeout(() => this.#reportWaiting(), Math.min(REPORT_AFTER_MS, this.#graceSeconds * 1000)).unref();
    const late = `requests in flight were waited for ${this.#graceSeconds} s (--stop-timeout)`;
    setTimeout(() => this.#giveUp(late), this.#graceSeconds * 1000).unref();
    void this.#device?.close(isPassedOn);
  }

  /** Ends without waiting for requests in flight, on the second signal of a supervisor. */
  giveUp(): void {
    this.#giveUp('a second signal: requests in flight are not waited for');
  }

  /** Sets the device to close. @param restore restores what was taken (the terminal), when ending is given up. */
  of(device: Pick<ServedDevice, 'close'>, restore: () => void): void {
    this.#device = device;
    this.#restore = restore;
    if (this.#isEnding) void device.close();
  }

  #onSignal(signal: string): void {
    if (++this.#signals > 1) return this.#giveUp(`a second ${signal}: requests in flight are not waited for`);
    this.begin(false);
  }

  /** The queues log which requests they wait for. */
  #reportWaiting(): void {
    this.#report.log(
      `requests in flight are waited for up to ${this.#graceSeconds} s; a second signal does not wait for them`,
      { event: 'stopping' },
    );
  }

  /** Exit code 1: requests in flight may not have been written. */
  #giveUp(why: string): void {
    this.#restore?.();
    this.#report.log(`ended without finishing: ${why}`, { event: 'given-up' });
    void exitAfterOutput(1);
  }
}
