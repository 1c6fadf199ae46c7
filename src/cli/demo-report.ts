// cli: what `demo` prints: a line for each step as it is done, and a table at the end.
import pc from 'picocolors';
import { columnsOf, widthOf, wrap } from '../../bench/text/columns.ts';
import { formatTable } from '../../bench/text/table.ts';
import { type StepList, StepTexts } from '../../demo/demo-steps.ts';
import type { Audience, DemoResult } from '../../demo/run-demo.ts';
import type { GuestStep } from '../../guests/console-parser.ts';
import { commandName } from './command-name.ts';
import { ProgressLine } from './progress-line.ts';
import { bytes, micros, millis, percent, rate } from './quantities.ts';
import { shellWord } from './shell-word.ts';

const TICK_MS = 200;
const TEXT_COLUMNS = 48;
/** Before the text of a line: seconds and a symbol. */
const CLOCK_COLUMNS = 11;
const OFFER_COLUMNS = 26;

export class DemoReport implements Audience, Disposable {
  readonly #output: Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>;
  #heading: string;
  #texts = new StepTexts('format');
  #progress = new ProgressLine(process.stderr);
  #ticking: NodeJS.Timeout | undefined;
  #startedMs = 0;

  /** @param output takes a line for each step; `heading` is written before the first. */
  constructor(output: Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>, heading = '') {
    this.#output = output;
    this.#heading = heading;
  }

  expect(steps: StepList): void {
    this.#texts = new StepTexts(steps);
  }

  doing(what: string): void {
    this.#settle();
    this.#startedMs = performance.now();
    this.#progress = new ProgressLine(process.stderr);
    this.#ticking = setInterval(() => {
      this.#progress.show(`${clock()}  … ${what}, ${millis(performance.now() - this.#startedMs)} so far`);
    }, TICK_MS);
  }

  done(what: string): void {
    this.#settle();
    this.#say(pc.green('✓'), what, '');
  }

  step(step: GuestStep): void {
    const text = this.#texts.take(step.name);
    // The guest's clock starts when it boots, so that its time leaves the boot out.
    const ms = step.name === 'appears' ? performance.now() - this.#startedMs : step.ms;
    const took = step.sizeBytes > 0 ? rate(step.sizeBytes, ms) : millis(ms);
    this.#settle();
    if (step.ok) this.#say(pc.green('✓'), text.done, took);
    else this.#say(pc.red('✗'), text.doing, took);
    if (step.ok && this.#texts.doing !== '') this.doing(this.#texts.doing);
  }

  note(line: string): void {
    this.#progress.clear();
    this.#say(pc.yellow('·'), line, '');
  }

  #say(symbol: string, what: string, detail: string): void {
    const columns = columnsOf(this.#output);
    // The time is a column of its own where there is room for one.
    const isWide = columns >= CLOCK_COLUMNS + TEXT_COLUMNS + 1 + detail.length;
    const line = detail === '' ? what : `${isWide ? what.padEnd(TEXT_COLUMNS) : what} ${pc.dim(detail)}`;
    const first = `${clock()}  ${symbol} `;
    const lines =
      isWide && detail !== '' ? [first + line] : wrap(line, columns, { first, rest: ' '.repeat(CLOCK_COLUMNS) });
    this.#output.write(`${this.#heading}${lines.join('\n')}\n`);
    this.#heading = '';
  }

  #settle(): void {
    clearInterval(this.#ticking);
    this.#progress.clear();
  }

  [Symbol.dispose](): void {
    this.#settle();
  }
}

/** Seconds since the command was started. */
function clock(): string {
  return pc.dim(`${(performance.now() / 1000).toFixed(1).padStart(5)} s`);
}

/** Returns the result and what to try next. `hasLinux`: a guest with a kernel could be booted here. */
export function formatDemo(result: DemoResult, columns: number, hasLinux: boolean): string {
  const lines = [...verdictOf(result, columns)];
  for (const what of result.unchecked) lines.push(...wrap(`Not checked: ${what}.`, columns));
  lines.push(...nextOf(result, columns, hasLinux));
  return ['', tableOf(result, columns), '', ...lines].join('\n');
}

function verdictOf(result: DemoResult, columns: number): string[] {
  const { ok, problem, consoleTail, guest, checks, totalMs, disk } = result;
  if (!ok) {
    const tail =
      consoleTail.length === 0 ? [] : ["The end of the guest's console:", ...consoleTail.map((line) => `  ${line}`)];
    return [...tail, ...wrap(`The demo failed: ${problem}`, columns).map(pc.red)];
  }
  const subject = guest.name === 'built-in' ? 'The driver side' : `Linux ${guest.kernel}`;
  const what =
    disk.readOnly && checks !== 'built-in' ? 'read the same bytes twice' : 'read back what it wrote, byte for byte,';
  const read = disk.readOnly && checks === 'built-in' ? 'read the disk' : what;
  const holes = disk.own && `; the image of ${bytes(disk.sizeBytes)} occupies ${bytes(disk.own.allocatedBytes)}`;
  return wrap(`${subject} ${read} in ${millis(totalMs)}${holes ?? ''}.`, columns).map(pc.green);
}

function nextOf({ ok, guest, disk }: DemoResult, columns: number, hasLinux: boolean): string[] {
  const belfry = commandName();
  const lines: string[] = [];
  const offer = (what: string, command: string): void => {
    const line = `${`${what}:`.padEnd(OFFER_COLUMNS)} ${pc.bold(command)}`;
    // A command is not wrapped, so that it can be pasted.
    lines.push(...(widthOf(line) <= columns ? [line] : [`${what}:`, `  ${pc.bold(command)}`]));
  };
  if (disk.own?.kept) {
    const memory = disk.own.inMemory ? ' (in memory: remove it when you are done)' : '';
    lines.push(...wrap(`The disk is kept: ${disk.path}${memory}`, columns));
  }
  if (!ok) return lines;
  if (guest.name === 'built-in' && !hasLinux)
    lines.push(...wrap('For a real Linux: apt-get install user-mode-linux (or qemu-system-x86).', columns));
  const isKept = disk.own?.kept ?? !disk.path.startsWith('mem:');
  const name = isKept ? shellWord(disk.path) : 'DISK';
  offer('Look at a disk in a Linux', `${belfry} shell ${name}`);
  offer('Serve it to a VM', `${belfry} serve blk ${name} --socket /tmp/disk.sock`);
  offer('See how fast it can be', `${belfry} bench blk`);
  return lines;
}

function tableOf({ steps, checks, device }: DemoResult, columns: number): string {
  const texts = new StepTexts(checks);
  const moved = steps.flatMap((step) => {
    const { row, requestBytes } = texts.take(step.name);
    return row === undefined || !step.ok ? [] : [[row, bytes(step.sizeBytes), throughputOf(step, requestBytes)]];
  });
  const { requests, kicks, calls, kicksSaved, callsSaved, p50Us, p99Us } = device;
  const did = [
    ['requests served', requests.toLocaleString('en'), ''],
    ['time a batch of requests spent in it', `p50 ${micros(p50Us)}`, `p99 ${micros(p99Us)}`],
    ['kicks: the guest notified the disk', kicks.toLocaleString('en'), savedOf(kicksSaved, requests)],
    ['calls: the disk notified the guest', calls.toLocaleString('en'), savedOf(callsSaved, requests)],
  ];
  return [
    formatTable({ head: ['what the guest moved', 'size', 'throughput'], rows: moved }, columns),
    formatTable({ head: ['what the disk did', '', ''], rows: did }, columns),
  ].join('\n');
}

function throughputOf(step: GuestStep, requestBytes: number | undefined): string {
  if (requestBytes === undefined) return rate(step.sizeBytes, step.ms);
  return `${micros((step.ms * 1000 * requestBytes) / step.sizeBytes)} each`;
}

function savedOf(saved: number, requests: number): string {
  return `${saved.toLocaleString('en')} saved, ${percent(saved, requests)}`;
}
