// A listening socket as a stream: one client after the other, and one that does not read.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventually } from '../testing/patience.ts';
import { ListenerStream } from './listener-stream.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-listener-'));
after(() => rmSync(folder, { recursive: true }));
const socket = join(folder, 'sock');

test('clients come and go; a second one is refused, and what is written while there is none is dropped', async () => {
  let refused = 0;
  const stream = new ListenerStream({ socket, onRefused: () => refused++ });
  const events: boolean[] = [];
  stream.onOpen = (isOpen) => events.push(isOpen);
  let came = '';
  stream.setEncoding('utf8').on('data', (text) => {
    came += text;
  });
  await new Promise((resolve) => stream.write('nobody is there', resolve));
  for (const text of ['first', 'second']) {
    const client = connect(socket);
    client.write(text);
    await eventually('the bytes', () => came === text);
    came = '';
    const second = connect(socket);
    second.resume();
    await once(second, 'close');
    stream.write('hello');
    assert.equal(String((await once(client, 'data'))[0]), 'hello');
    client.end();
    await eventually('its end', () => !stream.isOpen);
  }
  assert.deepEqual([events, refused], [[true, false, true, false], 2]);
  stream.destroy();
  await once(stream, 'close');
  assert.equal(existsSync(socket), false);
});

test('a client that does not read stops the writer, and one that leaves lets it go on', async () => {
  const stream = new ListenerStream({ socket });
  const client = connect(socket);
  await eventually('the client', () => stream.isOpen);
  let isWritten = false;
  for (let i = 0; i < 64; i++)
    stream.write(new Uint8Array(1 << 16), () => {
      isWritten = i === 63;
    });
  await eventually('the stream to wait', () => stream.writableNeedDrain);
  assert.equal(isWritten, false);
  client.destroy();
  await eventually('the callback', () => isWritten);
  stream.destroy();
});
