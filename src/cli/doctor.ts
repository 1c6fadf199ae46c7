// cli: `belfry doctor`: what this machine has, what each thing is used for, and how to get what is missing.
import { Command } from 'commander';
import pc from 'picocolors';
import { columnsOf, wrap } from '../../bench/text/columns.ts';
import { examineMachine } from '../../doctor/examine-machine.ts';
import type { Finding, FindingGroup } from '../../doctor/finding.ts';
import { type Verdict, verdictOn } from '../../doctor/verdict.ts';
import { commandName } from './command-name.ts';

const belfry = commandName();
const EXAMPLES = `
✓ is here and works, – is not here (and nothing needs it), ✗ should work and does not. The last lines say which commands can be
used here.

Examples:
  ${belfry} doctor
  ${belfry} doctor --json | jq '.groups[].findings[] | select(.state != "ok")'
  ${belfry} doctor --json | jq '.verdict[] | select(.can | not)'
`;

const NAME_COLUMNS = 20;
/** On a narrower terminal names are on lines of their own. */
const WIDE_COLUMNS = 70;
const symbols = { ok: pc.green('✓'), absent: pc.yellow('–'), broken: pc.red('✗') } as const;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('see what this machine can do, and how to get more')
    .option('--json', 'print what was found as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async ({ json }: { readonly json?: boolean }) => {
      const groups = await examineMachine();
      const verdict = verdictOn(groups);
      console.log(
        json ? JSON.stringify({ groups, verdict }, undefined, 2) : formatDoctor(groups, verdict, columnsOf()),
      );
      const node = groups.flatMap(({ findings }) => findings).find(({ name }) => name === 'Node');
      if (node?.state === 'broken') process.exitCode = 1;
    });
}

/** Returns the report, in lines of at most `columns`. */
export function formatDoctor(groups: readonly FindingGroup[], verdict: readonly Verdict[], columns: number): string {
  const texts = groups.map((group) => formatGroup(group, columns));
  return [...texts, formatVerdict(verdict, columns)].join('\n\n');
}

function formatGroup({ title, findings }: FindingGroup, columns: number): string {
  return [pc.bold(title), ...findings.flatMap((finding) => formatFinding(finding, columns))].join('\n');
}

function formatFinding({ name, state, found, goodFor, advice }: Finding, columns: number): string[] {
  const isWide = columns >= WIDE_COLUMNS;
  const rest = ' '.repeat(isWide ? NAME_COLUMNS + 4 : 6);
  const first = isWide ? `  ${symbols[state]} ${name.padEnd(NAME_COLUMNS)}` : rest;
  return [
    ...(isWide ? [] : [`  ${symbols[state]} ${name}`]),
    ...wrap(found, columns, { first, rest }),
    ...wrap(typed(goodFor), columns, { first: rest, rest }).map(pc.dim),
    ...(advice === '' ? [] : wrap(typed(advice), columns, { first: `${rest}${pc.cyan('→')} `, rest: `${rest}  ` })),
  ];
}

/** Which commands can be used here, which cannot, and why. */
function formatVerdict(verdict: readonly Verdict[], columns: number): string {
  const line = (title: string, symbol: string, some: readonly Verdict[]): string[] => {
    if (some.length === 0) return [];
    const words = some.map(({ command, why }) => (why === '' ? command : `${command} (${why})`));
    return wrap(`${words.join(', ')}.`, columns, { first: `${symbol} ${pc.bold(title)} `, rest: '  ' });
  };
  return [
    ...line(
      'You can:',
      symbols.ok,
      verdict.filter(({ can }) => can),
    ),
    ...line(
      'Not here:',
      symbols.absent,
      verdict.filter(({ can }) => !can),
    ),
  ].join('\n');
}

/** Returns `text` with the commands in it as they can be typed here. */
function typed(text: string): string {
  return text.replaceAll(/\bbelfry(?= (?:bench|demo|shell|serve|run)\b)/g, belfry);
}
