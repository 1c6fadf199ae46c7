// Upper floor: help texts that fit the terminal, say no more than they must, and are only for commands that exist.
import { type Command, Help, type Option, type OutputConfiguration } from 'commander';
import { columnsOf, wrap } from '../../bench/text/columns.ts';

/** Descriptions are filled into a column that is not narrower. */
const DESCRIPTION_COLUMNS_MIN = 20;

/** For `configureHelp`: a flag that is off, or an empty text, is no default to tell of. */
export const plainHelp: Partial<Help> = {
  minWidthToWrap: DESCRIPTION_COLUMNS_MIN,
  optionDescription(option: Option): string {
    const isPlain = option.defaultValue === false || option.defaultValue === '';
    const told = isPlain ? Object.create(option, { defaultValue: { value: undefined } }) : option;
    return Help.prototype.optionDescription.call(this, told);
  },
};

/** For `configureOutput`: as wide as what it is written to. Errors stay on one line. */
export const fittingOutput: OutputConfiguration = {
  getOutHelpWidth: () => columnsOf(process.stdout),
  getErrHelpWidth: () => columnsOf(process.stderr),
  writeOut: (text) => process.stdout.write(reflow(text, columnsOf(process.stdout))),
};

/** Fills the lines of each paragraph anew. A line that is indented stays as it is: it is to be pasted, or a table. */
export function reflow(text: string, columns: number): string {
  const done: string[] = [];
  let paragraph: string[] = [];
  const finish = (): void => {
    if (paragraph.length > 0) done.push(...wrap(paragraph.join(' '), columns));
    paragraph = [];
  };
  for (const line of text.split('\n')) {
    if (line !== '' && !line.startsWith(' ')) {
      paragraph.push(line);
      continue;
    }
    finish();
    done.push(line);
  }
  finish();
  return done.join('\n');
}

/** Leaves out --help after a word that is no command, so that commander refuses the word instead of helping. */
export function withoutVainHelp(command: Command, argv: readonly string[]): string[] {
  let current = command;
  for (const word of argv) {
    if (word.startsWith('-')) continue;
    // What takes arguments beside its commands takes this word for one.
    if (current.commands.length === 0 || current.registeredArguments.length > 0 || word === 'help') break;
    const next = current.commands.find((one) => one.name() === word);
    if (next === undefined) return argv.filter((one) => one !== '--help' && one !== '-h');
    current = next;
  }
  return [...argv];
}
