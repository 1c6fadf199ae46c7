// test/microvm/bed: asks the QEMU of a bed that says nothing where its processors are. QMP, QEMU's docs/interop/qmp-spec.
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const ANSWER_TIMEOUT_MS = 5_000;
const BETWEEN_LOOKS_MS = 500;
/** Twice the registers, to tell a processor that goes round in circles from one that stands. */
const QUESTIONS = ['info status', 'info registers -a', 'info registers -a', 'info lapic', 'info pic'] as const;
/** Of the registers, lines that tell nothing. */
const FLOATING_POINT = /^(F|X|Y|Z|Opmask|DR|LDT).*\n?/gm;

interface QmpMessage {
  readonly return?: string;
  readonly error?: { readonly desc: string };
}

/** What QEMU's monitor at `socket` says of its machine, for a person to read; or why it says nothing. Never throws. */
export async function askMonitor(socket: string): Promise<string> {
  const connection = createConnection(socket);
  const tooLate = setTimeout(() => connection.destroy(), ANSWER_TIMEOUT_MS);
  const answers: string[] = [];
  try {
    const messages = createInterface({ input: connection })[Symbol.asyncIterator]();
    const ask = async (command: object): Promise<string> => {
      connection.write(`${JSON.stringify(command)}\n`);
      for (;;) {
        const { value, done } = await messages.next();
        if (done) throw new Error('it does not answer');
        const { return: answer, error } = JSON.parse(value) as QmpMessage;
        if (error !== undefined) return error.desc;
        if (answer !== undefined) return String(answer);
      }
    };
    await messages.next();
    await ask({ execute: 'qmp_capabilities' });
    for (const line of QUESTIONS) {
      const answer = await ask({ execute: 'human-monitor-command', arguments: { 'command-line': line } });
      answers.push(`${line}:\n${answer.replaceAll('\r', '').replaceAll(FLOATING_POINT, '').trim()}`);
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
