// cli: help texts that fit the terminal, and only for commands that exist.
import { type Command, Help, type Option, type OutputConfiguration } from 'commander';
import { columnsOf, wrap } from '../../bench/text/columns.ts';

/** The narrowest column that descriptions are wrapped into. */
const DESCRIPTION_COLUMNS_MIN = 20;

/** For `configureHelp`: a default that is false or an empty text is not shown. */
export const plainHelp: Partial<Help> = {
  minWidthToWrap: DESCRIPTION_COLUMNS_MIN,
  optionDescription(option: Option): string {
    const isPlain = option.defaultValue === false || option.defaultValue === '';
    const shown = isPlain ? Object.create(option, { defaultValue: { value: undefined } }) : option;
    return Help.prototype.optionDescription.call(this, shown);
  },
};

/** For `configureOutput`: help as wide as the stream it is written to. Errors stay on one line. */
export const fittingOutput: OutputConfiguration = {
  getOutHelpWidth: () => columnsOf(process.stdout),
  getErrHelpWidth: () => columnsOf(process.stderr),
  writeOut: (text) => process.stdout.write(reflow(text, columnsOf(process.stdout))),
};

/** Wraps each paragraph to `columns`. An indented line stays as it is: it is a command or a line of a table. */
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

/** Returns `argv` without --help where a word of it is no command, so that commander refuses the word. */
export function withoutVainHelp(command: Command, argv: readonly string[]): string[] {
  let current = command;
  for (const word of argv) {
    if (word.startsWith('-')) continue;
    // A command that takes arguments besides its subcommands takes this word as one.
    if (current.commands.length === 0 || current.registeredArguments.length > 0 || word === 'help') break;
    const next = current.commands.find((one) => one.name() === word);
    if (next === undefined) return argv.filter((one) => one !== '--help' && one !== '-h');
    current = next;
  }
  return [...argv];
}
