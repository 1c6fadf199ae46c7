// The progress of a test run: on a terminal one line that changes, elsewhere a line for each part that took a while.
import type { TimeLeft } from './time-left.ts';

/** Where it is printed: standard output, or a substitute in tests. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

interface Running {
  readonly beganMs: number;
  /** The test that runs. */
  doing: string;
}

/** In a pipe, the longest time without a line; and the shortest duration that gets a line. */
const DARK_MS = 60_000;
const WORTH_A_LINE_S = 5;
const REDRAW_MS = 500;

/** Formats `90` as `1:30`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

export class Progress implements Disposable {
  readonly #screen: Screen;
  readonly #timeLeft: TimeLeft;
  readonly #beganMs = performance.now();
  readonly #running = new Map<string, Running>();
  readonly #timer: NodeJS.Timeout;
  #stage = '';
  #isHeavy = false;
  #printedMs = performance.now();

  constructor(screen: Screen, timeLeft: TimeLeft) {
    this.#screen = screen;
    this.#timeLeft = timeLeft;
    this.#timer = setInterval(() => this.#tick(), REDRAW_MS).unref();
  }

  /** Prints whole lines, which stay. */
  print(text: string): void {
    this.#screen.write(`${this.#screen.isTTY ? '\r\x1b[K' : ''}${text}\n`);
    this.#printedMs = performance.now();
    if (this.#screen.isTTY) this.#draw();
  }

  /** Begins a stage. Every part of a heavy one gets a line. */
  stage(name: string, isHeavy: boolean): void {
    this.#stage = name;
    this.#isHeavy = isHeavy;
  }

  begin(part: string): void {
    this.#timeLeft.begin(part);
    this.#running.set(part, { beganMs: performance.now(), doing: '' });
  }

  /** Records that `part` now runs `doing`; in a pipe it gets a line of its own if it `isNews`. */
  says(part: string, doing: string, isNews = false): void {
    const running = this.#running.get(part);
    if (running !== undefined) running.doing = doing;
    if (isNews && !this.#screen.isTTY) this.print(`${this.#stamp()}  ${part}: ${doing}`);
  }

  /** Ends `part` with `result`. Returns how many seconds it took. */
  end(part: string, result: string): number {
    this.#running.delete(part);
    const seconds = this.#timeLeft.end(part);
    const isWorthALine = part !== this.#stage && (this.#isHeavy || seconds >= WORTH_A_LINE_S);
    if (isWorthALine && !this.#screen.isTTY)
      this.print(`${this.#stamp()}  ${part}: ${result} in ${seconds.toFixed(1)} s`);
    return seconds;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (this.#screen.isTTY) this.#screen.write('\r\x1b[K');
  }

  #tick(): void {
    if (this.#screen.isTTY) this.#draw();
    else if (performance.now() - this.#printedMs >= DARK_MS) this.print(`${this.#stamp()}  ${this.#state()}`);
  }

  #draw(): void {
    const width = (this.#screen.columns || 80) - 1;
    this.#screen.write(`\r\x1b[K${`${this.#stamp()}  ${this.#state()}`.slice(0, width)}`);
  }

  #stamp(): string {
    return clock((performance.now() - this.#beganMs) / 1000).padStart(5);
  }

  #state(): string {
    const running = [...this.#running].map(([part, { beganMs, doing }]) => {
      const seconds = ((performance.now() - beganMs) / 1000).toFixed(0);
      return `${part}${doing === '' ? '' : `: ${doing}`} (${seconds} s)`;
    });
    return `${this.#stage}, about ${clock(this.#timeLeft.seconds)} left: ${running.join(', ')}`;
  }
}
