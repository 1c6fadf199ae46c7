// cli: what lets people see into a process that serves devices, and change it: the control socket, and the events for it.
import { basename, extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlServer } from '../daemon/control/control-server.ts';
import type { ControlHandler } from '../daemon/control/control-session.ts';
import type { ControlEvent } from '../daemon/control/methods.ts';
import type { OperatedDevice } from '../daemon/control/operated-device.ts';
import { operate } from '../daemon/control/operations.ts';
import { type MetricsAddress, MetricsServer } from '../daemon/metrics/metrics-server.ts';
import type { SocketFile } from '../sys/socket-file.ts';
import { type About, levelOf } from '../virtio/log.ts';
import type { ServeReport } from './serve-report.ts';
import { belfryVersion } from './version.ts';

export interface DaemonControlOptions {
  /** Where the control socket is made. Absent: there is none. */
  readonly path: string | undefined;
  /** Where metrics are served. Absent: nowhere. */
  readonly metrics?: MetricsAddress | undefined;
  readonly report: ServeReport;
  /** Ends the process in order. */
  readonly quit: () => void;
  /** Takes each event, where a supervisor has the clients. */
  readonly onEvent?: ((event: ControlEvent) => void) | undefined;
}

/** How often a port that another process has is tried again. */
const RETRY_MS = 50;

export class DaemonControl implements Disposable {
  /** Does what a request says. */
  readonly handle: ControlHandler;
  readonly #devices: OperatedDevice[] = [];
  readonly #server: ControlServer | undefined;
  readonly #address: MetricsAddress | undefined;
  #metrics: MetricsServer | undefined;
  readonly #onEvent: DaemonControlOptions['onEvent'];

  /** Makes the socket. Throws SystemError. */
  constructor({ path, metrics, report, quit, onEvent }: DaemonControlOptions) {
    this.#address = metrics;
    this.#onEvent = onEvent;
    this.handle = operate({
      version: belfryVersion(),
      devices: () => this.#devices,
      get logLevel() {
        return report.level;
      },
      set logLevel(level) {
        report.level = level;
      },
      quit,
    });
    this.#server = path === undefined ? undefined : new ControlServer(path, this.handle);
  }

  /**
   * Serves the metrics, if they are wanted. Resolves to where they are, or to undefined. Rejects with one line.
   * @param patienceMs how long another process may still have the port.
   */
  async serveMetrics(patienceMs = 0): Promise<string | undefined> {
    if (this.#address === undefined) return undefined;
    const { host } = this.#address;
    const startedMs = performance.now();
    for (;;) {
      const server = new MetricsServer(belfryVersion(), () => this.#devices);
      try {
        const port = await server.listen(this.#address);
        this.#metrics = server;
        return `http://${host.includes(':') ? `[${host}]` : host}:${port}/metrics`;
      } catch (error) {
        server[Symbol.dispose]();
        if (performance.now() - startedMs > patienceMs) throw new Error(`--metrics: ${(error as Error).message}`);
      }
      await sleep(RETRY_MS);
    }
  }

  get devices(): readonly OperatedDevice[] {
    return this.#devices;
  }

  /** Files that another thread removes if it ends the process. */
  get files(): readonly SocketFile[] {
    return this.#server?.file === undefined ? [] : [this.#server.file];
  }

  add(device: OperatedDevice): void {
    this.#devices.push(device);
  }

  /** Takes a line of the log. `device`: the name of the device that it is about. */
  take(line: string, about: About | undefined, device: string | undefined): void {
    const event = eventOf(line, about, device);
    this.#server?.publish(event);
    this.#onEvent?.(event);
  }

  [Symbol.dispose](): void {
    this.#server?.[Symbol.dispose]();
    this.#metrics?.[Symbol.dispose]();
  }
}

/** Returns a line of the log as an event for clients of a control socket. */
export function eventOf(line: string, about: About | undefined, device?: string): ControlEvent {
  return {
    time: new Date().toISOString(),
    ...(device !== undefined && { device }),
    ...{ event: about?.event ?? 'log', level: levelOf(about), line },
    ...(about?.code !== undefined && { code: about.code }),
  };
}

/** The name of the one device of `belfry serve`: that of its socket's file, without the extension; or its kind. */
export function nameOf(socket: string | undefined, kind: string): string {
  return (socket === undefined ? '' : basename(socket, extname(socket))) || kind;
}
