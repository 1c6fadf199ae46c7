// Upper floor: `belfry doctor`: what this machine can do, what each is good for, and how to get what is missing.
import { Command } from 'commander';
import pc from 'picocolors';
import { examineMachine } from '../../doctor/examine-machine.ts';
import type { Finding, FindingGroup } from '../../doctor/finding.ts';

const EXAMPLES = `
✓ is here and works, – is not here (and nothing needs it), ✗ should work and does not.

Examples:
  belfry doctor
  belfry doctor --json | jq '.[].findings[] | select(.state != "ok")'
`;

const NAME_COLUMNS = 20;
const symbols = { ok: pc.green('✓'), absent: pc.yellow('–'), broken: pc.red('✗') } as const;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('see what this machine can do, and how to get more')
    .option('--json', 'print what was found as JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async ({ json }: { readonly json: boolean }) => {
      const groups = await examineMachine();
      console.log(json ? JSON.stringify(groups, undefined, 2) : groups.map(formatGroup).join('\n\n'));
      const node = groups.flatMap(({ findings }) => findings).find(({ name }) => name === 'Node');
      if (node?.state === 'broken') process.exitCode = 1;
    });
}

function formatGroup({ title, findings }: FindingGroup): string {
  return [pc.bold(title), ...findings.flatMap(formatFinding)].join('\n');
}

function formatFinding({ name, state, found, goodFor, advice }: Finding): string[] {
  const indent = ' '.repeat(NAME_COLUMNS + 4);
  const lines = [`  ${symbols[state]} ${name.padEnd(NAME_COLUMNS)}${found}`, pc.dim(`${indent}${goodFor}`)];
  if (advice !== '') lines.push(`${indent}${pc.cyan('→')} ${advice}`);
  return lines;
}
