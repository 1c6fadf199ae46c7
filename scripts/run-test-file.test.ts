// The runner of npm test, on test files that pass, fail, skip, crash, hang and report wrongly.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type FileRun, type Outcome, runTestFile } from './run-test-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-runner-'));
after(() => rmSync(folder, { recursive: true }));

let count = 0;

/** Runs `body` as a test file; in it `test`, `suite`, `fail` and `reported` are there to use. */
async function outcomeOf(body: string, run: Partial<FileRun> = {}): Promise<Outcome> {
  count += 1;
  const file = join(folder, `${count}.test.mts`);
  const recordsPath = join(folder, `${count}.records`);
  const [imports, fail, reported] = [
    "import { suite, test } from 'node:test'; import { readFile } from 'node:fs/promises';",
    "const fail = () => { throw new Error('broken'); };",
    // Resolves when the end of a test is in the records.
    `const reported = async (name) => {
      const records = () => readFile(${JSON.stringify(recordsPath)}, 'utf8').catch(() => '');
      while (!new RegExp('passed","name":"' + name).test(await records()));
    };`.replaceAll('\n', ' '),
  ];
  writeFileSync(file, `// A sample.\n${imports}\n${fail} ${reported}\n${body}`);
  // Or it reports to the runner of this test, where there is one.
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  return await runTestFile(file, { silenceMs: 60_000, recordsPath, env, ...run });
}

const names = (notes: Outcome['failures']): string[] => notes.map(({ name }) => name);

test('tests that pass are counted, those that only hold others are not', async () => {
  const { passed, failures, skips } = await outcomeOf(`
    test('one', () => {});
    suite('a suite', () => { test('two', () => {}); });
    test('a parent', async (t) => { await t.test('three', () => {}); });
    test('four', () => {});`);
  assert.equal(passed, 4);
  assert.deepEqual([...failures, ...skips], []);
});

test('a failure is counted once, with its line and the error', async () => {
  const { passed, failures } = await outcomeOf(`
    test('one', () => {});
    suite('a suite', () => { test('two', fail); });
    test('a parent', async (t) => { await t.test('three', fail); fail(); });`);
  assert.equal(passed, 1);
  assert.deepEqual(names(failures), ['two', 'three', 'a parent']);
  assert.match(failures[0]?.where ?? '', /\.test\.mts:6$/);
  assert.match(failures[0]?.detail ?? '', /Error: broken\n +at /);
});

test('a skip carries its reason, for a test, a suite and a test that skips itself', async () => {
  const { passed, failures, skips } = await outcomeOf(`
    test('one', { skip: 'peer missing: qemu' }, fail);
    suite('two', { skip: 'no kvm' }, () => { test('never', fail); });
    test('three', (t) => t.skip('not today'));
    test('four', { skip: true }, fail);
    test('five', { todo: 'later' }, fail);`);
  assert.equal(passed, 0);
  assert.deepEqual(failures, []);
  assert.deepEqual(
    skips.map(({ detail }) => detail),
    ['peer missing: qemu', 'no kvm', 'not today', 'no reason given', 'later'],
  );
});

test('a crash is a failure that names the test it happened in and shows what was printed, without its progress', async () => {
  const { passed, failures } = await outcomeOf(`
    test('one', () => {});
    test('two', async () => {
      console.log('BELFRY doing nothing');
      console.log('so long');
      await reported('one');
      process.abort();
    });`);
  assert.equal(passed, 1);
  assert.deepEqual(names(failures), ['the whole file']);
  assert.match(failures[0]?.detail ?? '', /^crashed: exit SIGABRT, in "two"\nThe file printed:\nso long/);
});

test('a file that ends before its tests did is a failure, even with exit code 0', async () => {
  const { failures } = await outcomeOf(`
    test('one', async () => {
      process.exit(0);
    });`);
  assert.deepEqual(names(failures), ['the whole file']);
});

test('a file that cannot be loaded, one without tests and what is thrown after a test are failures', async () => {
  assert.deepEqual(names((await outcomeOf("import './nowhere.ts';")).failures), ['the whole file']);
  assert.deepEqual(names((await outcomeOf('')).failures), ['the whole file']);
  const late = await outcomeOf(`
    let isOver = false;
    test('one', () => {
      const timer = setInterval(() => { if (isOver) { clearInterval(timer); fail(); } }, 1);
    });
    test('two', () => new Promise((resolve) => { isOver = true; process.once('uncaughtException', resolve); }));`);
  assert.deepEqual(names(late.failures), ['after a test had ended']);
});

test('a file that hangs is killed, with what it started, even if it ignores signals', async () => {
  const pidFile = join(folder, 'pid');
  const { failures } = await outcomeOf(
    `
    import { spawn } from 'node:child_process';
    import { writeFileSync } from 'node:fs';
    process.on('SIGTERM', () => {});
    test('one', () => {
      writeFileSync(${JSON.stringify(pidFile)}, String(spawn('sleep', ['600'], { stdio: 'inherit' }).pid));
      for (;;);
    });`,
    { silenceMs: 3000 },
  );
  assert.match(failures[0]?.detail ?? '', /^made no progress for \d+ s/);
  const pid = readFileSync(pidFile, 'utf8');
  const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '';
  assert.match(state, /^$|\) Z /, 'what it started is still running');
});

test('a file may take as long as it likes while it makes progress, and says what it does', async () => {
  const said: string[] = [];
  const { passed, failures } = await outcomeOf(
    `
    import { tellProgress } from ${JSON.stringify(join(import.meta.dirname, '../test/progress.ts'))};
    // Time: what is tested is a time.
    const step = () => new Promise((resolve) => { setTimeout(resolve, 100); });
    test('one', async () => {
      for (let i = 0; i < 40; i++) {
        await step();
        tellProgress('step ' + i, i === 0);
      }
    });
    for (let i = 0; i < 5; i++) test('short ' + i, step);`,
    { silenceMs: 3000, onProgress: (doing, isNews) => void said.push(`${doing}${isNews ? '!' : ''}`) },
  );
  assert.deepEqual([passed, failures], [6, []]);
  for (const doing of ['one', 'step 0!', 'step 39', 'short 4']) assert.ok(said.includes(doing), doing);
});
