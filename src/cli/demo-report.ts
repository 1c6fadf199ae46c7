// Upper floor: what `demo` prints: a line for each thing as it happens, and a table at the end.
import Table from 'cli-table3';
import pc from 'picocolors';
import { StepTexts } from '../../demo/demo-steps.ts';
import type { Audience, DemoResult } from '../../demo/run-demo.ts';
import type { GuestStep } from '../../guests/console-parser.ts';
import { ProgressLine } from './progress-line.ts';
import { bytes, micros, millis, percent, rate } from './quantities.ts';

const TICK_MS = 200;
const TEXT_COLUMNS = 48;

export class DemoReport implements Audience, Disposable {
  readonly #texts = new StepTexts();
  #progress = new ProgressLine(process.stderr);
  #ticking: NodeJS.Timeout | undefined;
  #startedMs = 0;

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
    console.log(lineOf(pc.green('✓'), what, ''));
  }

  step(step: GuestStep): void {
    const text = this.#texts.take(step.name);
    // The guest's own clock does not know how long it took to boot.
    const ms = step.name === 'appears' ? performance.now() - this.#startedMs : step.ms;
    const took = step.sizeBytes > 0 ? rate(step.sizeBytes, ms) : millis(ms);
    this.#settle();
    if (step.ok) console.log(lineOf(pc.green('✓'), text.done, took));
    else console.log(lineOf(pc.red('✗'), text.doing, took));
    if (step.ok && this.#texts.doing !== '') this.doing(this.#texts.doing);
  }

  note(line: string): void {
    this.#progress.clear();
    console.log(`${clock()}  ${pc.yellow('·')} ${line}`);
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

function lineOf(symbol: string, what: string, detail: string): string {
  const line = detail === '' ? what : `${what.padEnd(TEXT_COLUMNS)} ${pc.dim(detail)}`;
  return `${clock()}  ${symbol} ${line}`;
}

/** What happened, and what to try next. */
export function formatDemo(result: DemoResult): string {
  const lines = ['', tableOf(result), ''];
  if (result.ok) lines.push(pc.green(verdictOf(result)));
  else lines.push(...failureOf(result));
  if (result.disk.kept) {
    const { path } = result.disk;
    lines.push(`The disk is kept: ${path}${result.disk.inMemory ? ' (in memory: remove it when you are done)' : ''}`);
    lines.push(`  belfry serve blk ${path} --socket /tmp/disk.sock`);
  }
  if (result.ok && result.guest.name === 'built-in')
    lines.push('For a real Linux: apt-get install user-mode-linux (or qemu-system-x86).');
  const own = 'belfry serve blk DISK --socket /tmp/disk.sock';
  if (result.ok) lines.push(`Next: ${pc.bold(own)} for a VM of yours, or ${pc.bold('belfry bench blk')}.`);
  return lines.join('\n');
}

function verdictOf({ guest, totalMs, disk }: DemoResult): string {
  const who = guest.name === 'built-in' ? 'The driver side' : `Linux ${guest.kernel}`;
  const holes = `the image of ${bytes(disk.sizeBytes)} occupies ${bytes(disk.allocatedBytes)}`;
  return `${who} read back what it wrote, byte for byte, in ${millis(totalMs)}; ${holes}.`;
}

function failureOf({ problem, consoleTail }: DemoResult): string[] {
  const tail =
    consoleTail.length === 0 ? [] : ["The end of the guest's console:", ...consoleTail.map((line) => `  ${line}`)];
  return [...tail, pc.red(`The demo failed: ${problem}`)];
}

function tableOf({ steps, device }: DemoResult): string {
  const table = new Table({ style: { head: [], border: [], compact: true }, colAligns: ['left', 'right', 'right'] });
  const heading = (...cells: string[]): unknown => table.push(cells.map((cell) => pc.bold(cell)));
  heading('what the guest moved', 'size', 'throughput');
  const texts = new StepTexts();
  for (const step of steps) {
    const { row, requestBytes } = texts.take(step.name);
    if (row === undefined || !step.ok) continue;
    table.push([`  ${row}`, bytes(step.sizeBytes), throughputOf(step, requestBytes)]);
  }
  const { requests, kicks, calls, kicksSaved, callsSaved, p50Us, p99Us } = device;
  heading('what the disk did', '', '');
  table.push(['  requests served', requests.toLocaleString('en'), '']);
  table.push(['  time a batch of requests spent in it', `p50 ${micros(p50Us)}`, `p99 ${micros(p99Us)}`]);
  table.push(['  kicks: the guest rang the disk', kicks.toLocaleString('en'), savedOf(kicksSaved, requests)]);
  table.push(['  calls: the disk rang the guest', calls.toLocaleString('en'), savedOf(callsSaved, requests)]);
  return table.toString();
}

function throughputOf(step: GuestStep, requestBytes: number | undefined): string {
  if (requestBytes === undefined) return rate(step.sizeBytes, step.ms);
  return `${micros((step.ms * 1000 * requestBytes) / step.sizeBytes)} each`;
}

function savedOf(saved: number, requests: number): string {
  return `${saved.toLocaleString('en')} saved, ${percent(saved, requests)}`;
}
