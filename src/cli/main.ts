// cli: the command line. The list of commands is the list of files in this folder.
import { Command, CommanderError } from 'commander';
import { printable } from '../sys/limited-log.ts';
import { codeOf } from '../virtio/log.ts';
import { commandName } from './command-name.ts';
import { exitAfterOutput } from './exit.ts';
import { fittingOutput, plainHelp, withoutVainHelp } from './help.ts';
import { UsageError } from './usage-error.ts';
import { belfryVersion } from './version.ts';

const EXIT_OK = 0;
const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

/** Each is loaded when it is named, so that a command does not load what another needs. */
const commands: { readonly [name: string]: () => Promise<Command> } = {
  serve: async () => (await import('./serve.ts')).serveCommand(),
  up: async () => (await import('./up.ts')).upCommand(),
  ctl: async () => (await import('./ctl.ts')).ctlCommand(),
  upgrade: async () => (await import('./upgrade.ts')).upgradeCommand(),
  run: async () => (await import('./run.ts')).runCommand(),
  shell: async () => (await import('./shell.ts')).shellCommand(),
  demo: async () => (await import('./demo.ts')).demoCommand(),
  bench: async () => (await import('./bench.ts')).benchCommand(),
  doorbell: async () => (await import('./doorbell.ts')).doorbellCommand(),
  hvisor: async () => (await import('./hvisor.ts')).hvisorCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
  completion: async () => (await import('./completion.ts')).completionCommand(() => program(undefined)),
};

const belfry = commandName();
const FIRST_STEPS = `
First steps:
  ${belfry} demo                                        see it work on this machine
  ${belfry} serve blk disk.img --socket /tmp/disk.sock  serve a disk to a VM
`;

async function program(named: string | undefined): Promise<Command> {
  const command = new Command(belfry)
    .description('Serves virtio devices to real virtual machines.')
    .version(belfryVersion(), '-v, --version')
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .addHelpText('after', FIRST_STEPS);
  const one = named === undefined ? undefined : commands[named];
  for (const load of one === undefined ? Object.values(commands) : [one]) command.addCommand(await load());
  return command;
}

/** Returns `error` as one line: commander suggests on a second line, and a user's disk module may throw many lines. */
function oneLine(error: string): string {
  return printable(
    error
      .replace(/^error: /, '')
      .trim()
      .replaceAll(/\s*\n\s*/g, ' '),
  );
}

/** Returns the line that is printed for an error with --json. */
function jsonLine(error: Error): string {
  const time = new Date().toISOString();
  return JSON.stringify({ time, level: 'error', event: 'failed', line: oneLine(error.message), ...codeOf(error) });
}

/** Commands whose threads and modules may keep the process alive after everything is closed. */
const LINGERING: readonly (string | undefined)[] = ['serve', 'up', 'run', 'hvisor'];

/** Runs one command and returns the exit code. Every failure is one line on stderr. */
export async function main(argv: readonly string[]): Promise<number> {
  const code = await run(argv);
  return LINGERING.includes(argv[0]) ? exitAfterOutput(code) : code;
}

async function run(argv: readonly string[]): Promise<number> {
  // picocolors, loaded with the command, colours wherever CI is set; we do so only on a terminal.
  if (!process.stdout.isTTY) process.env.NO_COLOR ??= '1';
  // `belfry … | head` closes the pipe: the error is ignored, so that commands can clean up.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const command = await program(argv[0]);
  const all = [command, ...command.commands, ...command.commands.flatMap((child) => child.commands)];
  for (const one of all)
    one
      .exitOverride()
      .configureHelp(plainHelp)
      .configureOutput({ ...fittingOutput, outputError: (text, write) => write(`belfry: ${oneLine(text)}\n`) });
  // -v and -V are both common for --version; commander takes one short flag.
  const words = argv[0] === '-V' ? ['-v'] : withoutVainHelp(command, argv);
  try {
    await command.parseAsync(words, { from: 'user' });
    return Number(process.exitCode ?? EXIT_OK);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    const isForPrograms = argv[0] === 'serve' && argv.includes('--json');
    console.error(isForPrograms ? jsonLine(error as Error) : `belfry: ${oneLine((error as Error).message)}`);
    if (process.env.BELFRY_DEBUG !== undefined) console.error(error);
    return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE;
  }
}
