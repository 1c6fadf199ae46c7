// cli: `belfry completion`: what bash, zsh and fish complete, as a script for the shell to read.
import { Argument, Command, type Option } from 'commander';
import { commandName } from './command-name.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

const belfry = commandName();
const EXAMPLES = `
Examples:
  source <(${belfry} completion bash)                                      in ~/.bashrc
  source <(${belfry} completion zsh)                                       in ~/.zshrc
  ${belfry} completion fish > ~/.config/fish/completions/belfry.fish
`;

/** @param program makes the command whose words are completed. */
export function completionCommand(program: () => Promise<Command>): Command {
  return new Command('completion')
    .description('print a script with which a shell completes commands and flags')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText('after', EXAMPLES)
    .action(async (shell: Shell) => {
      process.stdout.write(scripts[shell](nodesOf(await program())));
    });
}

/** A command of the tree: its words after `belfry`, and what may follow. */
interface Node {
  readonly words: readonly string[];
  readonly commands: readonly Command[];
  readonly options: readonly Option[];
}

function nodesOf(command: Command, words: readonly string[] = []): Node[] {
  const commands = command.commands.filter((child) => child.name() !== 'help');
  const options = command.createHelp().visibleOptions(command);
  const deeper = commands.flatMap((child) => nodesOf(child, [...words, child.name()]));
  return [{ words, commands, options }, ...deeper];
}

const flagsOf = ({ long, short }: Option): string[] => [long, short].filter((flag) => flag != null);
const hasValue = ({ required, optional }: Option): boolean => required || optional;

/** The words that have been typed choose the deepest command; a flag with fixed values completes those, else files. */
function bashScript(nodes: readonly Node[]): string {
  const cases = nodes.map(({ words, commands, options }) => {
    const all = [...commands.map((child) => child.name()), ...options.flatMap(flagsOf)];
    return `    '${words.join(' ')}') words='${all.join(' ')}' ;;`;
  });
  const values = nodes.flatMap(({ words, options }) =>
    options.flatMap((option) => {
      if (!hasValue(option)) return [];
      const choices = (option.argChoices ?? []).join(' ');
      return flagsOf(option).map((flag) => `    '${words.join(' ')} ${flag}') values='${choices}' isValue=1 ;;`);
    }),
  );
  return `_belfry() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" path='' words='' values='' isValue='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case " ${nodes.map(({ words }) => words.join('/')).join(' ')} " in
      *" \${path:+$path/}\${COMP_WORDS[i]} "*) path="\${path:+$path/}\${COMP_WORDS[i]}" ;;
    esac
  done
  path="\${path//\\// }"
  case "$path $before" in
${values.join('\n')}
  esac
  case "$path" in
${cases.join('\n')}
  esac
  if [ -n "$isValue" ]; then words="$values"; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _belfry belfry ./belfry
`;
}

function zshScript(nodes: readonly Node[]): string {
  return `(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D; }
autoload -Uz bashcompinit && bashcompinit
${bashScript(nodes)}`;
}

function fishScript(nodes: readonly Node[]): string {
  const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`;
  const lines = nodes.flatMap(({ words, commands, options }) => {
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ') || 'true';
    const next = commands.map((child) => child.name()).join(' ');
    const condition = commands.length === 0 ? seen : `${seen}; and not __fish_seen_subcommand_from ${next}`;
    const line = (rest: string): string => `complete -c belfry -n ${quoted(condition)} ${rest}`;
    return [
      ...commands.map((child) => line(`-a ${child.name()} -d ${quoted(child.description())}`)),
      ...options.map((option) => line(fishOption(option, quoted))),
    ];
  });
  return `${lines.join('\n')}\n`;
}

function fishOption(option: Option, quoted: (text: string) => string): string {
  const names = flagsOf(option).map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  const value = option.argChoices ? ` -x -a ${quoted(option.argChoices.join(' '))}` : hasValue(option) ? ' -r' : '';
  return `${names.join(' ')}${value} -d ${quoted(option.description)}`;
}

const scripts: { readonly [shell in Shell]: (nodes: readonly Node[]) => string } = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};
