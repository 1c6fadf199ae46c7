// test/microvm/bed: asks the QEMU of a silent bed where its processors are. QMP, QEMU's docs/interop/qmp-spec.
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { patience } from '../../../src/testing/patience.ts';

const ANSWER_TIMEOUT_MS = 5_000;
const BETWEEN_LOOKS_MS = 500;
/** The registers twice, to distinguish a processor in an endless loop from one that is halted. */
const QUESTIONS = ['info status', 'info registers -a', 'info registers -a', 'info lapic', 'info pic'] as const;
/** Lines of the registers that are left out. */
const FLOATING_POINT = /^(F|X|Y|Z|Opmask|DR|LDT).*\n?/gm;

interface QmpMessage {
  readonly return?: string;
  readonly error?: { readonly desc: string };
}

/** Returns what QEMU's monitor at `socket` reports of its machine, as text; or why it does not. Never throws. */
export async function askMonitor(socket: string): Promise<string> {
  const connection = createConnection(socket);
  const tooLate = setTimeout(() => connection.destroy(), patience(ANSWER_TIMEOUT_MS));
  const lines = createInterface({ input: connection });
  let why = 'it does not answer';
  connection.on('error', (error) => {
    why = error.message;
  });
  // A stream that was destroyed does not end its lines.
  connection.on('close', () => lines.close());
  const answers: string[] = [];
  try {
    const messages = lines[Symbol.asyncIterator]();
    const ask = async (command: object): Promise<string> => {
      connection.write(`${JSON.stringify(command)}\n`);
      for (;;) {
        const { value, done } = await messages.next();
        if (done) throw new Error(why);
        const { return: answer, error } = JSON.parse(value) as QmpMessage;
        if (error !== undefined) return error.desc;
        if (answer !== undefined) return String(answer);
      }
    };
    if ((await messages.next()).done) throw new Error(why);
    await ask({ execute: 'qmp_capabilities' });
    for (const line of QUESTIONS) {
      const answer = await ask({ execute: 'human-monitor-command', arguments: { 'command-line': line } });
      answers.push(`${line}:\n${answer.replaceAll('\r', '').replaceAll(FLOATING_POINT, '').trim()}`);
      // Time: a processor that goes round in circles is somewhere else a while later.
      if (line.startsWith('info registers')) await sleep(BETWEEN_LOOKS_MS);
    }
  } catch (error) {
    answers.push(`QEMU's monitor: ${(error as Error).message}`);
  } finally {
    clearTimeout(tooLate);
    connection.destroy();
  }
  return answers.join('\n');
}

/** The threads of a process, a line each: asleep or not, where in the kernel, and its processor time in hundredths of a second. */
export function threadsOf(pid: number): string {
  const folder = `/proc/${pid}/task`;
  try {
    return readdirSync(folder)
      .map((thread) => {
        const stat = readFileSync(`${folder}/${thread}/stat`, 'utf8');
        const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const ticks = Number(fields[11]) + Number(fields[12]);
        return `${name}: ${fields[0]}, ${readFileSync(`${folder}/${thread}/wchan`, 'utf8')}, ${ticks} ticks`;
      })
      .join('\n');
  } catch (error) {
    return `its threads: ${(error as Error).message}`;
  }
}
