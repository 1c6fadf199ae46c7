// cli: help texts fit the terminal, and name no default where there is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command, Option } from 'commander';
import { plainHelp, reflow, withoutVainHelp } from './help.ts';
import { sizeOption } from './options.ts';

test('paragraphs are filled anew, and what is indented stays as it is', () => {
  const text = 'One two\nthree four.\n\nFive.\n\nExamples:\n  a long line that stays\n  as it is\n';
  assert.equal(reflow(text, 12), 'One two\nthree four.\n\nFive.\n\nExamples:\n  a long line that stays\n  as it is\n');
  assert.equal(reflow(text, 40).split('\n')[0], 'One two three four.');
});

test('regression: a default is shown with its unit, or not at all', () => {
  const command = new Command('x')
    .configureHelp({ ...plainHelp, helpWidth: 200 })
    .option('--off', 'a flag', false)
    .option('--empty <text>', 'a text', '')
    .addOption(sizeOption('--size <size>', 'a size', Number, 512 << 20))
    .addOption(new Option('--seven <n>', 'a number').default(7));
  const help = command.helpInformation();
  assert.match(help, /--off +a flag\n/);
  assert.match(help, /--empty <text> +a text\n/);
  assert.match(help, /--size <size> +a size \(default: 512 MiB\)\n/);
  assert.match(help, /--seven <n> +a number \(default: 7\)\n/);
});

test('regression: help is for commands that exist', () => {
  const serve = new Command('serve').argument('[module]').addCommand(new Command('blk'));
  const root = new Command('r').addCommand(new Command('bench').addCommand(new Command('blk'))).addCommand(serve);
  for (const [argv, expected] of [
    [
      ['bench', '--help'],
      ['bench', '--help'],
    ],
    [
      ['bench', 'blk', 'x', '-h'],
      ['bench', 'blk', 'x', '-h'],
    ],
    [
      ['help', 'bench'],
      ['help', 'bench'],
    ],
    [
      ['bench', 'exits', '--help'],
      ['bench', 'exits'],
    ],
    [['-h', 'exits'], ['exits']],
    [
      ['serve', './mine.ts', '--help'],
      ['serve', './mine.ts', '--help'],
    ],
  ] as const)
    assert.deepEqual(withoutVainHelp(root, argv), expected);
});
