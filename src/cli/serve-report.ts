// Upper floor: what `serve` prints while it serves: for people, or as JSON lines.
import pc from 'picocolors';
import type { DeviceSnapshot } from '../daemon/device-snapshot.ts';
import type { ServedDisk } from '../daemon/served-disk.ts';
import { formatSize } from '../stores/size.ts';
import { describeQueue, type QueueReport } from '../transports/queue-report.ts';
import { startLines } from './start-lines.ts';

const REPORT_MS = 60_000;

export interface ReportStyle {
  readonly json: boolean;
  readonly quiet: boolean;
}

export class ServeReport {
  readonly #style: ReportStyle;
  #timer: NodeJS.Timeout | undefined;
  #reported = 0;

  constructor(style: ReportStyle) {
    this.#style = style;
  }

  /** A thing a person should know, quiet or not. */
  readonly log = (line: string): void => {
    if (this.#style.json) console.log(JSON.stringify({ event: 'log', line }));
    else console.error(`belfry: ${line}`);
  };

  listening(
    disk: {
      name: string;
      sizeBytes: number;
      readOnly: boolean;
      queues: number;
      threads: number;
      poll: string | number;
    },
    socket: string | undefined,
  ): void {
    if (this.#style.json) return console.log(JSON.stringify({ event: 'listening', socket, ...disk }));
    if (this.#style.quiet) return;
    const place = socket ?? 'an inherited socket';
    const size = `${formatSize(disk.sizeBytes)}${disk.readOnly ? ', read-only' : ''}`;
    const traits = `${size}, ${count(disk.queues, 'queue')}, ${count(disk.threads, 'thread')}, poll ${disk.poll}`;
    console.log(`Serving ${pc.bold(disk.name)} (${traits}) at ${pc.bold(place)}. Ctrl-C ends it.`);
    if (socket === undefined) return;
    for (const { vmm, line } of startLines(socket)) console.log(`  ${pc.dim(vmm.padEnd(16))} ${line}`);
  }

  /** One line a minute while there is something to say. */
  follow(disk: ServedDisk): void {
    this.#timer = setInterval(async () => {
      const snapshot = await disk.snapshot();
      if (snapshot.requests === this.#reported) return;
      this.#reported = snapshot.requests;
      if (this.#style.json || !this.#style.quiet) this.#counts('served', snapshot, disk);
    }, REPORT_MS);
    this.#timer.unref();
  }

  /** The state of every queue: what SIGUSR2 asks for. */
  queues(queues: readonly QueueReport[]): void {
    if (this.#style.json) return console.log(JSON.stringify({ event: 'queues', queues }));
    if (queues.length === 0) console.error('belfry: no queue runs');
    for (const queue of queues) console.error(`belfry: ${describeQueue(queue)}`);
  }

  /** The line at the end. */
  closed(snapshot: DeviceSnapshot, disk: ServedDisk): void {
    clearInterval(this.#timer);
    if (this.#style.json || !this.#style.quiet) this.#counts('closed', snapshot, disk);
  }

  #counts(event: 'served' | 'closed', snapshot: DeviceSnapshot, { latency }: ServedDisk): void {
    const p50Us = latency.count === 0 ? 0 : latency.percentile(50) / 1000;
    const p99Us = latency.count === 0 ? 0 : latency.percentile(99) / 1000;
    if (this.#style.json) return console.log(JSON.stringify({ event, ...snapshot, p50Us, p99Us }));
    const { requests, bytesRead, bytesWritten, kicks, calls } = snapshot;
    console.log(
      `${event}: ${count(requests, 'request')}, ${mib(bytesRead)} read, ${mib(bytesWritten)} written, ` +
        `p50 ${p50Us.toFixed(1)} µs, p99 ${p99Us.toFixed(1)} µs, ${count(kicks, 'kick')}, ${count(calls, 'call')}`,
    );
  }
}

function count(n: number, noun: string): string {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
