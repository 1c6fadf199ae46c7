// cli: what lets people see into a process that serves devices, and change it: the control socket, and the events for it.
import { basename, extname } from 'node:path';
import { ControlServer } from '../daemon/control/control-server.ts';
import type { ControlHandler } from '../daemon/control/control-session.ts';
import type { ControlEvent } from '../daemon/control/methods.ts';
import type { OperatedDevice } from '../daemon/control/operated-device.ts';
import { operate } from '../daemon/control/operations.ts';
import type { SocketFile } from '../sys/socket-file.ts';
import { type About, levelOf } from '../virtio/log.ts';
import type { ServeReport } from './serve-report.ts';
import { belfryVersion } from './version.ts';

export interface DaemonControlOptions {
  /** Where the control socket is made. Absent: there is none. */
  readonly path: string | undefined;
  readonly report: ServeReport;
  /** Ends the process in order. */
  readonly quit: () => void;
  /** Takes each event, where a supervisor has the clients. */
  readonly onEvent?: ((event: ControlEvent) => void) | undefined;
}

export class DaemonControl implements Disposable {
  /** Does what a request says. */
  readonly handle: ControlHandler;
  readonly #devices: OperatedDevice[] = [];
  readonly #server: ControlServer | undefined;
  readonly #onEvent: DaemonControlOptions['onEvent'];

  /** Makes the socket. Throws SystemError. */
  constructor({ path, report, quit, onEvent }: DaemonControlOptions) {
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
