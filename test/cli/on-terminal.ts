// test/cli: runs a shell command on a terminal of its own, and types when it has printed a cue.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { quoted } from '../../guests/shell-script.ts';
import { patience } from '../../src/testing/patience.ts';

export interface TerminalOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly columns?: number;
  /** Keys to type, each when its cue has been printed since the one before. */
  readonly typed?: readonly (readonly [cue: RegExp, keys: string])[];
}

/** Why there is no terminal to test with, if there is none. */
export const terminalProblem = spawnSync('script', ['--version']).status === 0 ? false : 'script(1) is not installed';

const ROWS = 40;
/** Far more than anything takes. */
const LIMIT_MS = 180_000;
/** BusyBox complains of a terminal without a size. */
const MODES = 'stty -a 2>/dev/null | grep -o -- "-*icanon"';

const COMMAND = join(import.meta.dirname, '../../bin/belfry.ts');

/** `belfry WORDS` for a shell. */
export function belfryLine(words: string): string {
  return `${quoted(process.execPath)} --disable-warning=ExperimentalWarning ${quoted(COMMAND)} ${words}`;
}

/** As `onTerminal`, and around it whether the terminal is as it was: `icanon … code N … icanon`. */
export function keepingTerminal(command: string, options: TerminalOptions): Promise<string> {
  return onTerminal(`${MODES}; ${command}; echo code $?; ${MODES}`, options);
}

/** Returns all that the terminal showed, however the command ended. */
export async function onTerminal(command: string, options: TerminalOptions): Promise<string> {
  const { cwd, env, columns = 100, typed = [] } = options;
  const sized = `stty rows ${ROWS} cols ${columns}; ${command}`;
  const child = spawn('script', ['-qec', sized, '/dev/null'], {
    stdio: 'pipe',
    env: { ...process.env, TERM: 'xterm', ...env },
    ...(cwd && { cwd }),
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), patience(LIMIT_MS));
  const left = [...typed];
  let shown = '';
  let seen = 0;
  child.stdout.setEncoding('utf8').on('data', (text) => {
    shown += text;
    const [cue, keys] = left[0] ?? [];
    if (cue === undefined || keys === undefined || !cue.test(lines(shown.slice(seen)))) return;
    seen = shown.length;
    left.shift();
    child.stdin.write(keys);
  });
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  return lines(shown);
}

/** Without colours; both terminals, the guest's and ours, end a line with a carriage return of their own. */
function lines(shown: string): string {
  return stripVTControlCharacters(shown).replaceAll(/\r+\n/g, '\n');
}
