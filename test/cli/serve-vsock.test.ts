// test/cli: `serve vsock`: wrong uses get one line and leave nothing behind; the UNIX socket is there before a VM is.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';

const USAGE = 2;
const FAILURE = 1;
const CID = /--cid.*whole number from 3 to 4294967294/;

const refused: readonly (readonly [string, args: readonly string[], code: number, RegExp])[] = [
  ['no CID', ['--uds', 'vm'], USAGE, /--cid N is needed/],
  ['no path', ['--cid', '3'], USAGE, /--uds PATH is needed/],
  ...['0', '1', '2', '4294967295', '4294967296', '-3', '3.5', 'three', ''].map(
    (cid) => [`the CID "${cid}"`, [`--cid=${cid}`, '--uds', 'vm'], USAGE, CID] as const,
  ),
  ['an empty path', ['--cid', '3', '--uds', ''], USAGE, /--uds.*1 to 96 bytes here, this one has 0/],
  [
    'a path without room for _PORT',
    ['--cid', '3', '--uds', 'x'.repeat(97)],
    USAGE,
    /1 to 96 bytes here, this one has 97/,
  ],
  ['one path for both sockets', ['--cid', '3', '--uds', 'sock'], USAGE, /--uds sock: that is the vhost-user socket/],
  ['a path in use', ['--cid', '3', '--uds', 'busy'], FAILURE, /EADDRINUSE: busy/],
  [
    'a file where the socket is to be',
    ['--cid', '3', '--uds', 'file'],
    FAILURE,
    /EEXIST: file exists and is not a socket/,
  ],
  [
    'a folder that is not there',
    ['--cid', '3', '--uds', 'none/vm'],
    FAILURE,
    /ENOENT: none\/vm: does the folder none exist/,
  ],
];

for (const [name, args, code, what] of refused) {
  test(`serve vsock refuses ${name}`, async (t) => {
    const cwd = testFolder(t);
    writeFileSync(join(cwd, 'file'), '');
    const busy = createServer().listen(join(cwd, 'busy'));
    t.after(() => busy.close());
    const ended = await belfry(['serve', 'vsock', '--socket', 'sock', ...args], { cwd });
    assert.match(ended.stderr, /^belfry: [^\n]+\n$/, 'one line on standard error');
    assert.match(ended.stderr, what);
    assert.deepEqual([ended.code, ended.stdout], [code, '']);
    assert.equal(existsSync(join(cwd, 'sock')), false, 'a socket was left behind');
  });
}

test('serve vsock listens at its path, closes a client whose guest is not there, and leaves nothing behind', async (t) => {
  const cwd = testFolder(t);
  await using served = startBelfry(['serve', 'vsock', '--cid', '7', '--uds', 'vm', '--socket', 'sock', '--json'], {
    cwd,
  });
  const [line] = await served.says(/^.*"listening".*$/m);
  const { name, type, queues } = JSON.parse(line);
  assert.deepEqual([name, type, queues], ['CID 7 at vm', 19, 3]);
  for (const word of ['GET / HTTP/1.1\n', 'CONNECT 4294967296\n', `${'x'.repeat(40)}`]) {
    const client = connect(join(cwd, 'vm'));
    client.write(word);
    const pieces = await client
      .on('error', () => {})
      .toArray()
      .catch(() => []);
    assert.deepEqual(pieces, [], word);
  }
  served.kill('SIGTERM');
  assert.equal((await served.ended).code, 0);
  assert.deepEqual([existsSync(join(cwd, 'sock')), existsSync(join(cwd, 'vm'))], [false, false]);
});
