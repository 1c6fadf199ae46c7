// cli: what `serve` prints while it serves, as text or as JSON lines, on the terminal or into a log file.
import pc from 'picocolors';
import { LEVELS } from '../daemon/control/methods.ts';
import type { DeviceSnapshot } from '../daemon/device-snapshot.ts';
import type { DeviceProfile } from '../daemon/open-device.ts';
import type { ServedDevice } from '../daemon/served-device.ts';
import { formatSize } from '../stores/size.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { describeQueue, type QueueReport } from '../transports/queue/queue-report.ts';
import { type EventName, type Level, type Log, levelOf } from '../virtio/log.ts';
import { BoundedOutput } from './bounded-output.ts';
import type { LogFile } from './log-file.ts';
import { count } from './quantities.ts';
import { startLines } from './start-lines.ts';

const REPORT_MS = 60_000;

export interface ReportStyle {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Standard output is the device's: lines go to standard error. */
  readonly toStderr?: boolean;
}

/** What is served. */
export interface Served extends DeviceProfile {
  readonly threads: number;
  readonly poll: string | number;
  /** Images only: what accesses it, and why. */
  readonly engine?: { readonly name: string; readonly why: string };
  /** Consoles only: the guest's name of each port, and where it leads. */
  readonly ports?: readonly { readonly name: string; readonly at: string }[] | undefined;
  /** Its name, where one process serves several. */
  readonly device?: string;
  /** Where metrics are served. */
  readonly metrics?: string;
  /** The device process, where a supervisor started one. */
  readonly devicePid?: number;
  /** The keys that end it, as a sentence. Absent: Ctrl-C. */
  readonly keys?: string;
}

/** A JSON line. `event` and `level` are stable for programs, as are codes. */
interface Event {
  readonly event: string;
  readonly level?: Level;
  readonly [field: string]: unknown;
}

/** Events that are also sent to the service manager as its STATUS. */
const STATUS_EVENTS: readonly (EventName | undefined)[] = ['connected', 'started', 'left', 'waiting'];

export class ServeReport {
  readonly #style: ReportStyle;
  readonly #file: LogFile | undefined;
  readonly #status: (line: string) => void;
  readonly #colors: ReturnType<typeof pc.createColors>;
  readonly #out: BoundedOutput;
  readonly #err = new BoundedOutput(process.stderr);
  /** Lines below it are left out. */
  level: Level;
  /** Takes each line, whatever its level. */
  onLine: Log | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reported = 0;

  /**
   * @param file takes every line instead of standard output and standard error.
   * @param status takes what the service manager shows. Default: tells it.
   */
  constructor(style: ReportStyle, file?: LogFile, status = (line: string) => serviceManager.notify(`STATUS=${line}`)) {
    this.#status = status;
    this.level = style.quiet ? 'warning' : 'info';
    this.#style = style;
    this.#file = file;
    this.#out = style.toStderr ? this.#err : new BoundedOutput(process.stdout);
    this.#colors = file === undefined ? pc : pc.createColors(false);
  }

  /** Logs a line. `--quiet` leaves out level info. */
  readonly log: Log = (line, about) => {
    const level = levelOf(about);
    this.onLine?.(line, about);
    if (STATUS_EVENTS.includes(about?.event)) this.#status(line);
    if (LEVELS.indexOf(level) < LEVELS.indexOf(this.level)) return;
    if (this.#style.json) this.#event({ event: 'log', level, line, ...about });
    else if (level === 'info') this.#info(line);
    else this.#problem(line);
  };

  /** Reopens the path of the log file. */
  reopen(): void {
    try {
      this.#file?.reopen();
    } catch (error) {
      this.log((error as Error).message);
    }
  }

  /** Writes a line of a device process to standard error as it is. */
  passOn(line: string): void {
    this.#err.line(line);
  }

  #event({ event, level = 'info', ...fields }: Event): void {
    const text = JSON.stringify({ time: now(), level, event, ...fields });
    if (this.#file === undefined) this.#out.line(text);
    else this.#file.append(text);
  }

  #problem(line: string): void {
    if (this.#file === undefined) this.#err.line(`belfry: ${line}`);
    else this.#file.append(`${now()} ${line}`);
  }

  #info(line: string): void {
    if (this.#file === undefined) this.#out.line(line);
    else this.#file.append(`${now()} ${line}`);
  }

  /** @param showsVmms whether a terminal gets the lines that start a virtual machine. */
  listening(profile: Served, socket: string | undefined, showsVmms = true): void {
    const { keys = 'Ctrl-C ends it.', ...served } = profile;
    const { name, sizeBytes, readOnly, queues, threads, poll, engine } = served;
    if (this.#style.json) return this.#event({ event: 'listening', socket, pid: process.pid, ...served });
    if (this.#style.quiet) return;
    const { bold, dim } = this.#colors;
    const place = socket ?? 'an inherited socket';
    const traits = [
      ...(sizeBytes === undefined ? [] : [formatSize(sizeBytes)]),
      ...(readOnly === true ? ['read-only'] : []),
      count(queues, 'queue'),
      count(threads, 'thread'),
      `poll ${poll}`,
      ...(engine === undefined ? [] : [`engine ${engine.name}, ${engine.why}`]),
    ];
    const prefix = served.device === undefined ? '' : `${bold(served.device)}: `;
    this.#info(`${prefix}Serving ${bold(name)} (${traits.join(', ')}) at ${bold(place)}. ${keys}`.trimEnd());
    for (const port of served.ports ?? []) this.#info(`  port ${bold(port.name)} at ${bold(port.at)}`);
    if (served.metrics !== undefined) this.#info(`  metrics at ${bold(served.metrics)}`);
    // How to start a VM is shown on a terminal only, not in a log file.
    if (socket === undefined || this.#file !== undefined || !showsVmms) return;
    const lines = startLines(socket, profile.type);
    const width = Math.max(...lines.map(({ vmm }) => vmm.length));
    for (const { vmm, line } of lines) this.#info(`  ${dim(vmm.padEnd(width))} ${line}`);
  }

  /** Prints the counts once a minute while they change. */
  follow(disk: ServedDevice): void {
    this.#timer = setInterval(async () => {
      const snapshot = await disk.snapshot();
      if (snapshot.requests === this.#reported) return;
      this.#reported = snapshot.requests;
      if (this.#style.json || !this.#style.quiet) this.#counts('served', snapshot, disk);
    }, REPORT_MS);
    this.#timer.unref();
  }

  /** Prints the state of every queue, on SIGUSR2. */
  queues(queues: readonly QueueReport[]): void {
    if (this.#style.json) return this.#event({ event: 'queues', queues });
    if (queues.length === 0) this.#problem('no queue runs');
    for (const queue of queues) this.#problem(describeQueue(queue));
  }

  /** Prints the counts at the end. */
  closed(snapshot: DeviceSnapshot, disk: ServedDevice): void {
    clearInterval(this.#timer);
    if (this.#style.json || !this.#style.quiet) this.#counts('closed', snapshot, disk);
  }

  #counts(event: 'served' | 'closed', snapshot: DeviceSnapshot, { latency }: ServedDevice): void {
    const p50Us = latency.count === 0 ? 0 : latency.percentile(50) / 1000;
    const p99Us = latency.count === 0 ? 0 : latency.percentile(99) / 1000;
    const { requests, bytesRead, bytesWritten, kicks, calls, droppedFrames } = snapshot;
    const kicksSaved = Math.max(0, requests - kicks);
    const callsSaved = Math.max(0, requests - calls);
    if (this.#style.json) return this.#event({ event, ...snapshot, kicksSaved, callsSaved, p50Us, p99Us });
    this.#info(
      `${event}: ${count(requests, 'request')}, ${mib(bytesRead)} read, ${mib(bytesWritten)} written, ${dropped(droppedFrames)}` +
        `p50 ${p50Us.toFixed(1)} µs, p99 ${p99Us.toFixed(1)} µs, ` +
        `${count(kicks, 'kick')}${saved(kicksSaved, requests)}, ${count(calls, 'call')}${saved(callsSaved, requests)}`,
    );
  }
}

function dropped(frames: number | undefined): string {
  return frames === undefined ? '' : `${count(frames, 'frame')} dropped, `;
}

/** The share of notifications saved against one for each request. Rounded down: 100 % means that there was none. */
function saved(notifications: number, requests: number): string {
  return requests === 0 ? '' : ` (${(Math.floor((1000 * notifications) / requests) / 10).toFixed(1)} % saved)`;
}

function now(): string {
  return new Date().toISOString();
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
