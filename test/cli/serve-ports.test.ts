// test/cli: `serve console --port`: serial ports at pseudo-terminals, sockets and files; bad input in one line each.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { EVENT } from '../../src/devices/console/spec.ts';
import { eventually } from '../../src/testing/patience.ts';
import { PortsVmm } from '../vhost-user/console-vmm.ts';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';

const SERVE = ['serve', 'console', '--socket', 'sock'];
const OPEN = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;

test('ports at a pseudo-terminal, a socket and a file: what they are is printed, and bytes go both ways', async (t) => {
  const cwd = testFolder(t);
  const ports = ['--port', 'shell=pty:shell', '--port', 'agent=unix:agent', '--port', 'log=file:log'];
  await using serving = startBelfry([...SERVE, '--console', 'unix:con', ...ports], { cwd });
  await serving.says(
    /^Serving a console for clients of con \(10 queues, .*\n {2}port shell at shell \(\/dev\/pts\/\d+\)\n {2}port agent at agent\n {2}port log at log\n/,
  );
  using vmm = await PortsVmm.at(join(cwd, 'sock'), 3);
  await vmm.hears(['2 PORT_NAME 0 agent', '3 PORT_NAME 0 log', '3 PORT_OPEN 1', '1 PORT_NAME 0 shell']);
  for (const port of [1, 2, 3]) vmm.say(port, EVENT.PORT_OPEN, 1);
  const client = connect(join(cwd, 'agent'));
  client.write('ping');
  await vmm.hears(['2 PORT_OPEN 1']);
  await vmm.port(2).reads('ping');
  vmm.port(2).submit('pong');
  assert.equal(String((await once(client, 'data'))[0]), 'pong');
  client.end();
  await vmm.hears(['2 PORT_OPEN 0']);
  const terminal = openSync(join(cwd, 'shell'), OPEN);
  await vmm.hears(['1 PORT_OPEN 1']);
  writeSync(terminal, 'id\n');
  await vmm.port(1).reads('id\n');
  vmm.port(1).submit('root');
  const into = new Uint8Array(16);
  await eventually('the answer', () => {
    try {
      return readSync(terminal, into) === 4;
    } catch {
      return false;
    }
  });
  closeSync(terminal);
  for (const text of ['one ', 'two']) vmm.port(3).submit(text);
  await vmm.port(3).written();
  assert.equal(readFileSync(join(cwd, 'log'), 'utf8'), 'one two');
  serving.kill('SIGTERM');
  assert.equal((await serving.ended).code, 0);
  assert.deepEqual(
    ['con', 'agent', 'shell', 'sock'].filter((name) => lstatSync(join(cwd, name), { throwIfNoEntry: false })),
    [],
  );
});

test('--json names the ports, and a file is appended to; /dev/hvc0 may lead to a pseudo-terminal or nowhere', async (t) => {
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'log'), 'before ');
  await using first = startBelfry([...SERVE, '--console', 'none', '--port', 'log=file:log', '--json'], { cwd });
  await first.says(/"name":"serial ports".*"ports":\[{"name":"log","at":"log"}\]/);
  using vmm = await PortsVmm.at(join(cwd, 'sock'), 1);
  vmm.port(1).submit('after');
  await vmm.port(1).written();
  assert.equal(readFileSync(join(cwd, 'log'), 'utf8'), 'before after');
  first.kill('SIGTERM');
  assert.equal((await first.ended).code, 0);
  symlinkSync('/dev/pts/99999', join(cwd, 'guest'));
  await using second = startBelfry([...SERVE, '--console', 'pty:guest'], { cwd });
  await second.says(/^Serving a console at guest \(\/dev\/pts\/\d+\) \(2 queues/);
  assert.ok(existsSync(readlinkSync(join(cwd, 'guest'))));
});

const bad: readonly [what: string, words: readonly string[], code: number, line: RegExp][] = [
  [
    'no place',
    ['--port', 'agent'],
    2,
    /--port .*NAME=WHERE, where WHERE is stdio, pty, pty:LINK, unix:PATH or file:PATH/,
  ],
  ['an unknown place', ['--port', 'agent=tty:x'], 2, /--port .* It takes stdio, pty/],
  ['an empty path', ['--port', 'agent=unix:'], 2, /--port .* It takes stdio, pty/],
  ['an unknown place of the console', ['--console', 'screen'], 2, /--console .* It takes stdio, pty/],
  ['no name', ['--port', '=pty'], 2, /--port .* 1 to 63 bytes/],
  ['a name with a slash', ['--port', 'a/b=pty'], 2, /--port .* the name of a file/],
  ['a name that is too long', ['--port', `${'x'.repeat(64)}=pty`], 2, /--port .* 1 to 63 bytes/],
  ['a name twice', ['--console', 'none', '--port', 'a=pty', '--port', 'a=pty'], 2, /--port a: there are two ports/],
  ['a path that is too long', ['--port', `a=unix:/tmp/${'x'.repeat(120)}`], 2, /--port .* at most 107 bytes.* 125/],
  ['the terminal twice', ['--port', 'a=stdio'], 2, /\/dev\/hvc0 and --port a=stdio: only one/],
  ['two words for one', ['--listen', 'x', '--console', 'pty'], 2, /--listen PATH is the same as --console unix:PATH/],
  ['nothing at all', ['--console', 'none'], 2, /--console none: nothing is left/],
  [
    'too many ports',
    Array.from({ length: 31 }, (_, i) => ['--port', `p${i}=pty`]).flat(),
    2,
    /31 ports; .* at most 30/,
  ],
  ['a supervised terminal', ['--supervise', '--console', 'pty', '--port', 'a=stdio'], 2, /--supervise: /],
  ['a file in no folder', ['--port', 'a=file:no/such/log'], 1, /ENOENT.*no\/such\/log/],
  ['a file that is a folder', ['--port', 'a=file:folder'], 1, /EISDIR.*folder/],
  ['a file that is a device', ['--port', 'a=file:/dev/null'], 1, /\/dev\/null is no regular file/],
  ['a link that is a file', ['--port', 'a=pty:taken'], 1, /taken is there, and is no link to a terminal: remove it/],
  // regression: the link of a process that lives was taken from it.
  ['a link to a terminal in use', ['--port', 'a=pty:living'], 1, /living leads to \/dev\/pts\/\w+, which is in use/],
  ['a link in no folder', ['--port', 'a=pty:no/such/link'], 1, /no\/such\/link cannot be made/],
  ['a socket that is a file', ['--port', 'a=unix:taken'], 1, /taken/],
];
for (const [what, words, code, line] of bad) {
  test(`${what} is refused in one line, and nothing is left behind`, async (t) => {
    const cwd = testFolder(t);
    writeFileSync(join(cwd, 'taken'), 'a file');
    mkdirSync(join(cwd, 'folder'));
    symlinkSync('/dev/pts/ptmx', join(cwd, 'living'));
    const others =
      words.includes('--console') || words.includes('--listen') || words[1] === 'a=stdio'
        ? []
        : ['--console', 'unix:con'];
    const { code: ended, stdout, stderr } = await belfry([...SERVE, ...others, ...words], { cwd });
    assert.match(stderr, /^belfry: [^\n]+\n$/, 'one line');
    assert.match(stderr, line);
    assert.deepEqual([ended, stdout], [code, '']);
    for (const name of ['sock', 'con']) assert.equal(existsSync(join(cwd, name)), false, name);
  });
}
