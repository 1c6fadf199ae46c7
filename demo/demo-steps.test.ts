// demo: every step that a guest takes has a text.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scenarioScript } from '../guests/scenario.ts';
import { StepTexts } from './demo-steps.ts';

function scenarioSteps(name: 'format-write-verify' | 'write-all' | 'read-all'): string[] {
  const script = scenarioScript({ name, disks: 1, partition: true, dataMiB: 8 }, []);
  return [...script.matchAll(/^(?:.*\|\| )?step ([a-z0-9-]+) /gm)].map((match) => match[1] as string);
}

for (const [list, scenario] of [
  ['format', 'format-write-verify'],
  ['small', 'write-all'],
  ['read-only', 'read-all'],
] as const) {
  test(`every step of ${scenario} has a text, and what comes next is known at each`, () => {
    const names = scenarioSteps(scenario);
    assert.ok(names.length > 5);
    const texts = new StepTexts(list);
    names.forEach((name, i) => {
      const text = texts.take(name);
      assert.notEqual(text.done, name, `${name} has no text`);
      const next = names[i + 1];
      assert.equal(texts.doing === '', next === undefined, `what comes after ${name} is "${texts.doing}"`);
    });
  });
}

test('a step that comes twice has its second text the second time', () => {
  const texts = new StepTexts('format');
  assert.equal(texts.take('drop-caches').done, 'dropped every cache');
  assert.equal(texts.doing, 'reading it back');
  assert.equal(texts.take('drop-caches').done, 'dropped every cache again');
});

test('a step without a text is shown by its name, and the next step stays the same', () => {
  const texts = new StepTexts('format');
  texts.take('mount');
  assert.equal(texts.take('juggle').done, 'juggle');
  assert.equal(texts.doing, 'making random files and their SHA-256 sums');
});
