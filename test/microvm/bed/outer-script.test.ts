// test/microvm/bed: words and variables reach the shell of a bed as they were given.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { quoted } from '../../../guests/shell-script.ts';
import { commandScript, ENDED, outerScript } from './outer-script.ts';

const WORDS = ['plain', 'two words', "it's", '$HOME `id`', '"', '\\', '*', ''];

test('a quoted word is one word of the shell, whatever it holds', () => {
  const script = `printf '%s\\0' ${WORDS.map(quoted).join(' ')}`;
  assert.deepEqual(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1), WORDS);
});

test('both scripts are shell', () => {
  const scripts = [outerScript(['virtio_blk', 'ext4']), commandScript(WORDS, { ANSWER: "it's 42" })];
  for (const script of scripts) execFileSync('/bin/sh', ['-n'], { input: script });
});

test('only the last line of a bed reports how its command ended', () => {
  const printed = execFileSync('/bin/sh', ['-c', '(exit 7); echo "BELFRY bed ended $?"'], { encoding: 'utf8' });
  assert.equal(ENDED.exec(printed.trimEnd())?.[1], '7');
  assert.equal(ENDED.exec('BELFRY bed ended'), null);
  assert.match(commandScript(['true'], {}), /^echo "BELFRY bed ended \$\?"$/m);
});
