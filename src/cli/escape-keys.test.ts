// cli: keys are parsed the same, in whatever pieces they arrive.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EscapeKeys } from './escape-keys.ts';

const A = '\x01';

/** Returns what is for the guest and which actions were called, when the keys arrive in `pieces`. */
function taken(pieces: readonly string[], passesOthers: boolean): [forGuest: string, actions: string] {
  let actions = '';
  const keys = new EscapeKeys({ x: () => (actions += 'x'), '?': () => (actions += '?') }, { passesOthers });
  const passed = pieces.map((piece) => new TextDecoder().decode(keys.take(new TextEncoder().encode(piece))));
  return [passed.join(''), actions];
}

for (const [typed, stripped, kept, actions] of [
  ['ls\r', 'ls\r', 'ls\r', ''],
  [`a${A}xb`, 'ab', 'ab', 'x'],
  [`${A}?${A}x`, '', '', '?x'],
  [`${A}${A}`, A, A + A, ''],
  [`${A}${A}x`, `${A}x`, `${A}${A}x`, ''],
  [`${A}k`, 'k', `${A}k`, ''],
  ['\x03\x1a\x1b[A', '\x03\x1a\x1b[A', '\x03\x1a\x1b[A', ''],
] as const) {
  test(`${JSON.stringify(typed)} is ${JSON.stringify(stripped)} for the guest, and ${actions || 'no'} action`, () => {
    for (const pieces of [[typed], [...typed]]) {
      assert.deepEqual(taken(pieces, false), [stripped, actions]);
      assert.deepEqual(taken(pieces, true), [kept, actions]);
    }
  });
}

test('a Ctrl-A at the end waits for the key that says what it means', () => {
  assert.deepEqual(taken([`ls${A}`], true), ['ls', '']);
});
