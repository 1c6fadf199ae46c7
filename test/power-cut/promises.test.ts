// test/power-cut: what a file system owes, how its files are judged by that, and how they are read from an archive.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { type PathState, Promises, promised } from './promises.ts';
import { tarFiles } from './tar-files.ts';
import { makeWorkload, promisesAfter } from './workload.ts';

const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const file = (content: Uint8Array): PathState => ({ is: 'file', content });
const ABSENT: PathState = { is: 'absent' };

function problems(states: readonly PathState[], found: Uint8Array | undefined): string[] {
  const promises = new Promises();
  promises.add(promised('a/f', ...states));
  return promises.broken(new Map(found === undefined ? [] : [['a/f', found]]));
}

test('a file that is lost, short or wrong is named, with what it has to be', () => {
  assert.deepEqual(problems([file(bytes(9, 1))], bytes(9, 1)), []);
  assert.deepEqual(problems([file(bytes(9, 1))], undefined), ['a/f is lost, and has to be its 9 bytes']);
  const wrong = bytes(9, 1).with(4, 0);
  assert.deepEqual(problems([file(bytes(9, 1))], wrong), [
    'a/f is 9 bytes, wrong from byte 4 on, and has to be its 9 bytes',
  ]);
  assert.match(problems([file(bytes(9, 1))], bytes(3, 1))[0] ?? '', /3 bytes, wrong from byte 3 on/);
  assert.match(problems([file(bytes(9, 1)), ABSENT], bytes(8, 1))[0] ?? '', /its 9 bytes or absent/);
  assert.deepEqual(problems([file(bytes(9, 1)), ABSENT], undefined), []);
  assert.deepEqual(problems([{ is: 'anything' }], bytes(8, 1)), []);
});

test('a file that was appended to keeps what it had; one that was written into has only old and new sectors', () => {
  const prefix: PathState = { is: 'prefix', content: bytes(600, 1) };
  assert.deepEqual(problems([prefix], bytes(600, 1)), []);
  assert.deepEqual(problems([prefix], new Uint8Array([...bytes(600, 1), 9, 9])), []);
  assert.equal(problems([prefix], bytes(599, 1)).length, 1);
  const sectors: PathState = { is: 'sectors', before: bytes(1000, 1), after: bytes(1000, 2) };
  const mixed = bytes(1000, 1);
  mixed.fill(2, 512);
  assert.deepEqual(problems([sectors], mixed), []);
  mixed[600] = 3;
  assert.equal(problems([sectors], mixed).length, 1);
  assert.equal(problems([sectors], mixed.with(600, 1)).length, 1, 'a mixture within a sector');
  assert.equal(problems([sectors], bytes(999, 1)).length, 1);
});

test('a promise about two paths allows only its combinations, and a later one replaces it for both', () => {
  const promises = new Promises();
  promises.add({
    paths: ['a', 'b'],
    oneOf: [
      [file(bytes(1, 1)), ABSENT],
      [ABSENT, file(bytes(1, 1))],
    ],
  });
  assert.deepEqual(promises.broken(new Map([['a', bytes(1, 1)]])), []);
  assert.deepEqual(promises.broken(new Map([['b', bytes(1, 1)]])), []);
  assert.equal(promises.broken(new Map()).length, 1);
  assert.equal(
    promises.broken(
      new Map([
        ['a', bytes(1, 1)],
        ['b', bytes(1, 1)],
      ]),
    ).length,
    1,
  );
  promises.add(promised('b', ABSENT));
  assert.equal(promises.size, 1);
  assert.deepEqual(promises.broken(new Map()), []);
});

test('a workload is the same for the same seed, and promises most of its files at its end', () => {
  const workload = makeWorkload(7, 200);
  assert.deepEqual(makeWorkload(7, 200).steps, workload.steps);
  assert.notDeepEqual(makeWorkload(8, 200).steps, workload.steps);
  assert.equal(workload.steps.length, 200);
  assert.equal(promisesAfter(workload, 0).size, 0);
  assert.ok(promisesAfter(workload, 200).size > 50);
  for (const word of ['dd ', 'mv ', 'rm ', 'fstrim', 'oflag=append', 'oflag=seek_bytes', '.new'])
    assert.ok(
      workload.steps.some(({ shell }) => shell.includes(word)),
      word,
    );
});

test('the files of an archive of tar(1)', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const random = new SeededRandom(1);
  const expected = new Map<string, Uint8Array>();
  mkdirSync(join(folder, 'in/a'), { recursive: true });
  for (const length of [0, 1, 511, 512, 513, 70_000]) {
    const content = new Uint8Array(length);
    random.fill(content);
    expected.set(`a/f${length}`, content);
    writeFileSync(join(folder, `in/a/f${length}`), content);
  }
  const archive = new Uint8Array(execFileSync('tar', ['--format=ustar', '-cf', '-', '-C', join(folder, 'in'), '.']));
  const found = tarFiles(archive);
  assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort());
  for (const [path, content] of expected) assert.deepEqual(found.get(path), content);
  assert.throws(() => tarFiles(archive.subarray(0, 1024)), /without an end mark|ends within/);
  assert.throws(() => tarFiles(new Uint8Array(1024).fill(1)), /no header/);
});
