// test/power-cut: the short form of `npm run power-cut`: 500 cut points of an ext4 and an XFS, and the mutants it catches.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PeerMissingError } from '../../guests/guest-peer.ts';
import { tellProgress } from '../progress.ts';
import { describeFailure, powerCutRound, type RoundOptions, type RoundReport } from './power-cut.ts';
import { splitRounds } from './rounds.ts';

const POINTS = 500;
const MUTANT_POINTS = 40;
const WRITETHROUGH_POINTS = 50;
const seed = Math.floor(Math.random() * 2 ** 30);
const fetch = { fetch: process.env.BELFRY_NO_APT !== '1' };
const SCRIPT = fileURLToPath(new URL('../../scripts/power-cut.ts', import.meta.url));

/** A round; the test is skipped with a reason where something that it needs is not installed. */
async function roundOrSkip(t: TestContext, round: RoundOptions): Promise<RoundReport | undefined> {
  try {
    const report = await powerCutRound({ fetch, note: (line) => tellProgress(line), signal: t.signal, ...round });
    if (process.env.BELFRY_PEERS_FILE) appendFileSync(process.env.BELFRY_PEERS_FILE, `${report.peer}\n`);
    t.diagnostic(JSON.stringify({ seed: round.seed, ...report, failures: report.failures.length }));
    return report;
  } catch (error) {
    if (!(error instanceof PeerMissingError)) throw error;
    t.skip(`peer missing: ${error.message}`);
    return undefined;
  }
}

// A guest waits for this process most of the time: two at once keep two processors busy.
suite('the short form', { concurrency: 2 }, () => {
  for (const round of splitRounds({ points: POINTS, seed })) {
    const { fileSystem, points } = round;
    test(`${points} power cuts, one after every flush: ${fileSystem} is clean, and has every file that was fsynced`, async (t) => {
      const report = await roundOrSkip(t, round);
      if (report === undefined) return;
      const { failures, checked, flushes, flushPoints, withPending } = report;
      assert.deepEqual(
        failures.map((failure) => describeFailure(failure, round)),
        [],
      );
      assert.equal(Math.max(checked.host, checked.guest), points);
      assert.ok(checked.guest >= points / 20, `${checked.guest} mounted by a guest`);
      assert.equal(flushPoints, flushes, 'a cut after every flush');
      assert.ok(flushes >= points / 5 && withPending >= points / 10, JSON.stringify(report));
    });
  }
});

test('a guest that chose writethrough, and never flushes, loses nothing either', async (t) => {
  const round: RoundOptions = { fileSystem: 'ext4', points: WRITETHROUGH_POINTS, seed, cache: 'writethrough' };
  const report = await roundOrSkip(t, round);
  if (report === undefined) return;
  assert.deepEqual(
    report.failures.map((failure) => describeFailure(failure, round)),
    [],
  );
  assert.equal(report.checked.host, WRITETHROUGH_POINTS);
  assert.ok(report.flushes >= report.changes, 'the device flushes after each write');
});

for (const [mutant, cache, what] of [
  ['forgotten-flush', 'writeback', 'completes FLUSH without calling the store'],
  ['forgotten-writethrough', 'writethrough', 'does not flush after a write in writethrough mode'],
] as const)
  test(`a device that ${what} is caught, and the lost file is named`, async (t) => {
    const round: RoundOptions = {
      fileSystem: 'ext4',
      points: MUTANT_POINTS,
      seed,
      mutant,
      cache,
    };
    const report = await roundOrSkip(t, round);
    if (report === undefined) return;
    const lines = report.failures.map((failure) => describeFailure(failure, round)).join('\n');
    assert.match(lines, /[abc]\/f\d+ is (lost|\d+ bytes, wrong)/, `seed ${seed}`);
  });

/** Runs the command; `interruptAt` is the output at which it gets a SIGINT. */
async function runCommand(t: TestContext, words: readonly string[], tmp: string, interruptAt?: RegExp) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', SCRIPT, ...words], {
    env: { ...process.env, TMPDIR: tmp },
    signal: t.signal,
  });
  let output = '';
  let isInterrupted = false;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
      tellProgress(output.trimEnd().split('\n').at(-1) ?? '');
      if (isInterrupted || !interruptAt?.test(output)) return;
      isInterrupted = true;
      child.kill('SIGINT');
    });
  const [code] = await once(child, 'close');
  return { code: code as number, output };
}

async function scratchFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp('/tmp/belfry-test-');
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test('npm run power-cut catches a store whose flush lies: exit 1, the lost file, the seed, the image', async (t) => {
  const folder = await scratchFolder(t);
  const words = ['--fs', 'ext4', '--points', `${MUTANT_POINTS}`, '--seed', `${seed}`, '--mutant', 'lying-flush'];
  const { code, output } = await runCommand(t, [...words, '--keep', join(folder, 'kept')], folder);
  if (/skipped: /.test(output)) return t.skip(`peer missing: ${output}`);
  assert.equal(code, 1, output);
  assert.match(output, /[abc]\/f\d+ is (lost|\d+ bytes, wrong)/);
  const [, point] =
    new RegExp(`again: npm run power-cut -- ${words.slice(0, 6).join(' ')} --point (\\d+) --mutant`).exec(output) ?? [];
  assert.ok(readdirSync(join(folder, 'kept')).includes(`ext4-seed-${seed}-point-${point}.img`), output);
  assert.deepEqual(readdirSync(folder), ['kept'], 'nothing else is left');
});

test('npm run power-cut that is interrupted ends its guest and leaves nothing', async (t) => {
  const folder = await scratchFolder(t);
  const { code, output } = await runCommand(t, ['--fs', 'ext4', '--points', '100'], folder, /runs a workload/);
  if (/skipped: /.test(output)) return t.skip(`peer missing: ${output}`);
  assert.equal(code, 130, output);
  assert.match(output, /interrupted after 0 points, seed \d+/);
  assert.deepEqual(readdirSync(folder), []);
});

test('npm run power-cut refuses what it does not understand, with a line that says what it takes', async (t) => {
  for (const [words, says] of [
    [['--points', '0'], /--points 0: it takes a whole number from 1/],
    [['--fs', 'btrfs'], /--fs btrfs: it takes ext4 or xfs/],
    [['--point', '7'], /--point needs --fs/],
    [['--fs', 'xfs', '--points', '5', '--point', '7'], /--point 7: it needs the --points of its round/],
  ] as const) {
    const { code, output } = await runCommand(t, words, '/tmp');
    assert.equal(code, 2, output);
    assert.match(output, says);
  }
});
