// test/cli: `serve console`: a guest's /dev/hvc0 on this terminal, pipes or a socket; the terminal is always restored.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { quoted } from '../../guests/shell-script.ts';
import { eventually } from '../../src/testing/patience.ts';
import { encodeConfig } from '../../src/transports/vhost-user/protocol/message.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { ConsoleVmm, frontEndAt } from '../vhost-user/console-vmm.ts';
import { startBelfry, testFolder } from './belfry-process.ts';
import { belfryLine, keepingTerminal, terminalProblem } from './on-terminal.ts';

const SERVE = ['serve', 'console', '--socket', 'sock'];

/** A guest whose console is served at `path`. */
async function guestAt(path: string): Promise<ConsoleVmm> {
  const front = await frontEndAt(path);
  const vmm = new ConsoleVmm();
  await vmm.connect({ connect: () => front });
  vmm.driver.refill();
  return vmm;
}

/** Columns and rows, as the driver reads them. */
async function windowOf({ front }: ConsoleVmm): Promise<number[]> {
  const { payload } = await front.ask({ request: Request.GET_CONFIG, payload: encodeConfig(0, new Uint8Array(4)) });
  return [payload.getUint16(12, true), payload.getUint16(14, true)];
}

async function said(client: Socket, text: string): Promise<void> {
  let all = '';
  while (all.length < text.length) all += (await once(client, 'data'))[0];
  assert.equal(all, text);
}

test('pipes: input goes to the guest, its output and nothing else comes out, and the end of input does not end it', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry(SERVE, { cwd, input: 'ls -l\n' });
  await serving.complains(
    /^Serving a console on standard input and output \(2 queues, .* at sock\. Ctrl-C ends it\.\n/,
  );
  using vmm = await guestAt(join(cwd, 'sock'));
  await vmm.driver.reads('ls -l\n');
  const text = 'x'.repeat(100_000);
  for (let i = 0; i < 4; i++) vmm.driver.submit(text);
  vmm.driver.submit('the end');
  await vmm.driver.written();
  serving.kill('SIGTERM');
  const { code, stdout, stderr } = await serving.ended;
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `${text.repeat(4)}the end`);
  assert.match(stderr, /\nclosed: \d+ requests, .*\n$/);
});

test('without a reader output is dropped: the guest does not wait', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry(['serve', 'console', '--socket', 'sock', '--quiet'], { cwd });
  using vmm = await guestAt(join(cwd, 'sock'));
  serving.stopReading();
  for (let i = 0; i < 4; i++) vmm.driver.submit('x'.repeat(100_000));
  await vmm.driver.written();
  serving.kill('SIGTERM');
  assert.equal((await serving.ended).code, 0);
});

test('--listen: a client at a time has the console, another is refused, and the next one goes on', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry([...SERVE, '--listen', 'con'], { cwd });
  await serving.says(/^Serving a console for clients of con \(.* Ctrl-C ends it\.\n/);
  assert.equal(statSync(join(cwd, 'con')).mode & 0o777, 0o600);
  using vmm = await guestAt(join(cwd, 'sock'));
  vmm.driver.submit('dropped, as nobody is there');
  await vmm.driver.written();
  const first = connect(join(cwd, 'con'));
  first.write('who');
  await vmm.driver.reads('who');
  vmm.driver.submit('root\n');
  await said(first, 'root\n');
  const second = connect(join(cwd, 'con'));
  second.resume();
  await once(second, 'close');
  await serving.complains(/^belfry: con: a second client was refused\n/);
  const left = once(first, 'close');
  first.end('bye');
  await vmm.driver.reads('bye');
  await left;
  const third = connect(join(cwd, 'con'));
  third.write('again');
  await vmm.driver.reads('again');
  vmm.driver.submit('last words');
  await vmm.driver.written();
  serving.kill('SIGTERM');
  await said(third, 'last words');
  assert.equal((await serving.ended).code, 0);
  assert.deepEqual(
    ['con', 'sock'].map((name) => existsSync(join(cwd, name))),
    [false, false],
  );
});

test('--listen at a path that is taken is refused in one line, and leaves no socket', async (t) => {
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'con'), 'a file');
  await using serving = startBelfry([...SERVE, '--listen', 'con'], { cwd });
  const { code, stdout, stderr } = await serving.ended;
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /^belfry: .*con.*\n$/);
  assert.deepEqual([existsSync(join(cwd, 'sock')), readFileSync(join(cwd, 'con'), 'utf8')], [false, 'a file']);
});

test('a terminal: keys are the guest’s, Ctrl-C too, its window has a size that changes, and Ctrl-A x ends it', async (t) => {
  if (terminalProblem) return t.skip(terminalProblem);
  const cwd = testFolder(t);
  const resized = `(until [ -e resize ]; do sleep 0.1; done; stty rows 50 cols 132 </dev/tty) & ${belfryLine(SERVE.join(' '))}`;
  const shown = keepingTerminal(resized, {
    cwd,
    typed: [
      [/Ctrl-A x ends it, Ctrl-A h shows the keys\.\n/, 'a\x03\x01\x01'],
      [/login: /, '\x01h'],
      [/every other key/, 'root\r'],
      [/bye/, '\x01x'],
    ],
  });
  using vmm = await guestAt(join(cwd, 'sock'));
  await vmm.driver.reads('a\x03\x01');
  assert.deepEqual(await windowOf(vmm), [100, 40]);
  writeFileSync(join(cwd, 'resize'), '');
  await eventually('another window', async () => `${await windowOf(vmm)}` === '132,50');
  vmm.driver.submit('login: ');
  await vmm.driver.reads('root\r');
  vmm.driver.submit('bye');
  assert.match(await shown, /^icanon\n.*login: .*Ctrl-A x {2}ends the console.*bye.*closed: .*\ncode 0\nicanon\n/s);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`the terminal is restored after ${signal}`, async (t) => {
    if (terminalProblem) return t.skip(terminalProblem);
    const cwd = testFolder(t);
    const line = `sh -c 'echo $$ >pid; exec "$@"' sh ${belfryLine(SERVE.join(' '))}`;
    const shown = keepingTerminal(line, { cwd });
    using vmm = await guestAt(join(cwd, 'sock'));
    vmm.driver.submit('hello');
    await vmm.driver.written();
    process.kill(Number(readFileSync(join(cwd, 'pid'), 'utf8')), signal);
    assert.match(await shown, /^icanon\n.*hello.*closed: .*\ncode 0\nicanon\n/s);
  });
}

test('the terminal is restored by a second signal', async (t) => {
  if (terminalProblem) return t.skip(terminalProblem);
  const cwd = testFolder(t);
  const shown = keepingTerminal(belfryLine(`${SERVE.join(' ')} --stop-timeout 0.001`), {
    cwd,
    typed: [[/shows the keys\.\n/, '\x01x\x01x']],
  });
  assert.match(await shown, /^icanon\n.*\ncode [01]\nicanon\n/s);
});

test('regression: the device thread restores the terminal if the main thread does not', async (t) => {
  if (terminalProblem) return t.skip(terminalProblem);
  const end = new URL('../../src/daemon/process-end.ts', import.meta.url).href;
  const program = `
    const { newProcessEnd, leaveProcessEnd } = await import('${end}');
    const { Worker } = await import('node:worker_threads');
    const end = newProcessEnd(undefined, 0.001, true);
    process.stdin.setRawMode(true);
    const thread = "import { parentPort, workerData } from 'node:worker_threads';" +
      "import { leaveProcessEnd } from '${end}'; parentPort.postMessage(''); leaveProcessEnd(workerData);";
    new Worker(thread, { eval: true, workerData: end }).on('message', () => { for (;;); });`;
  const flags = '--disable-warning=ExperimentalWarning --input-type=module';
  const line = `${quoted(process.execPath)} ${flags} -e ${quoted(program)}`;
  assert.equal(await keepingTerminal(line, { cwd: testFolder(t) }), 'icanon\ncode 0\nicanon\n');
});

test('the terminal is restored when serving fails', async (t) => {
  if (terminalProblem) return t.skip(terminalProblem);
  const cwd = testFolder(t);
  const words = 'serve console --socket no/such/folder/sock';
  assert.match(await keepingTerminal(belfryLine(words), { cwd }), /^icanon\nbelfry: .*\ncode 1\nicanon\n/);
});
