// Tests of what a driver can make us say: once each, and not for ever.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sayOnce } from './say-once.ts';

test('a line is said once', () => {
  const lines: string[] = [];
  const say = sayOnce((line) => lines.push(line));
  for (const line of ['a', 'b', 'a', 'b', 'a']) say(line);
  assert.deepEqual(lines, ['a', 'b']);
});

test('after so many different lines there are no more, and the last says so', () => {
  const lines: string[] = [];
  const say = sayOnce((line) => lines.push(line));
  for (let i = 0; i < 1000; i++) say(`mistake ${i}`);
  assert.ok(lines.length <= 100);
  assert.match(lines.at(-1) as string, /no more are told/);
  assert.equal(lines.filter((line) => line.includes('no more')).length, 1);
});
