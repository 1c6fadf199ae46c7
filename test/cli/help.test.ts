// test/cli: the help of every command has examples, and a mistyped command line gets one line.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { belfry } from './belfry-process.ts';

interface CommandHelp {
  readonly words: readonly string[];
  readonly help: string;
}

/** Every command, and so many levels of what it consists of, as their own help lists them, for a terminal of `columns`. */
async function helpOfAll(columns: number, levels: number, words: readonly string[] = []): Promise<CommandHelp[]> {
  const { code, stdout, stderr } = await belfry([...words, '--help'], { env: { COLUMNS: `${columns}` } });
  assert.deepEqual([code, stderr], [0, '']);
  const list = /\nCommands:\n((?: {2}.*\n)+)/.exec(stdout)?.[1] ?? '';
  const names = [...list.matchAll(/^ {2}([a-z-]+)/gm)].map((match) => match[1] as string);
  const deeper = names
    .filter((name) => name !== 'help' && words.length < levels)
    .map((name) => helpOfAll(columns, levels, [...words, name]));
  return [{ words, help: stdout }, ...(await Promise.all(deeper)).flat()];
}

const slips: readonly [string, readonly string[], RegExp][] = [
  ['an unknown command', ['nothing'], /unknown command 'nothing'/],
  ['a command mistyped', ['dmeo'], /unknown command 'dmeo' \(Did you mean demo\?\)/],
  ['an unknown device', ['serve', 'floppy'], /floppy is neither a kind of device nor a module/],
  ['help for an unknown command', ['bench', 'exits', '--help'], /unknown command 'exits'/],
  ['help for a command mistyped', ['srve', '-h'], /unknown command 'srve' \(Did you mean serve\?\)/],
  ['an unknown flag', ['doctor', '--yaml'], /unknown option '--yaml'/],
  ['an unknown guest', ['demo', '--guest', 'plan9'], /--guest .*'plan9' is invalid.*uml, qemu, built-in/],
  ['a flag without its value', ['demo', '--size'], /--size <size>.* argument missing/],
  ['a size that is none', ['demo', '--size', 'big'], /--size .*"big" is not a size/],
  ['a disk that is too small', ['demo', '--size', '1M'], /--size .*at least 32M/],
  ['no data', ['demo', '--data', '0'], /--data .*whole number from/],
  ['an argument too many', ['demo', 'now', 'then'], /too many arguments/],
];

for (const [name, args, what] of slips) {
  test(`${name} gets one line and exit code 2`, async () => {
    const { code, stdout, stderr } = await belfry(args);
    assert.match(stderr, /^belfry: [^\n]+\n$/);
    assert.match(stderr, what);
    assert.deepEqual([code, stdout], [2, '']);
  });
}

test('belfry alone shows its help on standard error, since nothing was done', async () => {
  const { code, stdout, stderr } = await belfry([]);
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /^Usage: belfry/);
});

test('regression: -v, -V and --version print the version', async () => {
  const said = await Promise.all(['-v', '-V', '--version'].map((flag) => belfry([flag])));
  for (const { code, stdout, stderr } of said)
    assert.deepEqual([code, stderr, /^\d+\.\d+\.\d+\n$/.test(stdout)], [0, '', true]);
});

for (const [columns, levels] of [
  [60, 3],
  [120, 1],
] as const) {
  test(`every command has a help with an example of itself, which fits ${columns} columns`, async () => {
    const all = await helpOfAll(columns, levels);
    const lines = all.map(({ words }) => words.join(' '));
    for (const expected of ['', 'demo', 'doctor', ...(levels > 1 ? ['serve blk', 'bench blk'] : [])])
      assert.ok(lines.includes(expected), expected);
    for (const { words, help } of all) {
      const [prose = '', examples = ''] = help.split(/\n(?:Examples?|First steps):\n/);
      assert.ok(examples.includes(['belfry', ...words].join(' ')), `belfry ${words.join(' ')} --help has no example`);
      // Lines that are to be pasted are as long as they are.
      for (const line of [...prose.split('\n'), ...examples.split('\n').filter((text) => !text.startsWith(' '))])
        assert.ok(line.length <= columns, `${words.join(' ')}: ${line}`);
      assert.doesNotMatch(prose, /default: (?:false|""|\[|\d{6,})/);
    }
  });
}
