// The control socket alone: JSON-RPC by the letter, and what a client can cost: lines, clients, output that is not read.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suite, type TestContext, test } from 'node:test';
import { eventually } from '../../testing/patience.ts';
import { ControlClient } from './control-client.ts';
import { CLIENTS_MAX, ControlServer } from './control-server.ts';
import { LINE_CHARS_MAX } from './control-session.ts';
import { CODES, RpcError } from './json-rpc.ts';
import type { ControlEvent } from './methods.ts';

interface Rig {
  readonly path: string;
  readonly server: ControlServer;
  /** Methods that were handled. */
  readonly handled: string[];
  /** Sends text, and resolves to the lines that answer it until the daemon ends the connection. */
  exchange(text: string): Promise<unknown[]>;
}

function makeRig(t: TestContext): Rig {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-control-'));
  const path = join(folder, 'control.sock');
  const handled: string[] = [];
  const server = new ControlServer(path, (method) => {
    handled.push(method);
    if (method === 'retry') throw new Error('the disk is not broken');
    if (method === 'pause') throw new RpcError(CODES.invalidParams, 'which one');
    return method === 'queues' ? { queues: [] } : { belfry: '1.2.3', protocol: 1, pid: 4 };
  });
  t.after(() => {
    server[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });
  const exchange = async (text: string): Promise<unknown[]> => {
    const socket = await connected(path);
    socket.end(text);
    const lines: unknown[] = [];
    for await (const line of createInterface(socket)) lines.push(JSON.parse(line));
    return lines;
  };
  return { path, server, handled, exchange };
}

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

const request = (id: unknown, method: string, params?: unknown): string =>
  `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
const failure = (id: unknown, code: number, message: string) => ({ jsonrpc: '2.0', id, error: { code, message } });
const EVENT: ControlEvent = { time: '2026-01-01T00:00:00.000Z', event: 'left', level: 'info', line: 'x'.repeat(1000) };

suite('JSON-RPC', () => {
  test('a result, an error, and what no method takes', async (t) => {
    const { path, exchange } = makeRig(t);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const unknown = '"extra" is not known; known are: none';
    assert.deepEqual(
      await exchange(
        [
          request('a', 'version'),
          request(2, 'retry', { device: 'x' }),
          request(3, 'pause', {}),
          request(4, 'nothing'),
          request(5, 'version', { extra: 1 }),
          request(6, 'resize', { sizeBytes: '20G' }),
          request(7, 'constructor'),
          '\n',
        ].join(''),
      ),
      [
        { jsonrpc: '2.0', id: 'a', result: { belfry: '1.2.3', protocol: 1, pid: 4 } },
        failure(2, CODES.failed, 'the disk is not broken'),
        failure(3, CODES.invalidParams, 'which one'),
        failure(4, CODES.methodNotFound, 'there is no method "nothing"'),
        failure(5, CODES.invalidParams, `extra: ${unknown}`),
        failure(6, CODES.invalidParams, 'sizeBytes: it is a whole number from 512 to 4503599627370496'),
        failure(7, CODES.methodNotFound, 'there is no method "constructor"'),
      ],
    );
  });

  test('a notification is served and not answered; what is no request is answered without an id', async (t) => {
    const { handled, exchange } = makeRig(t);
    const lines = [
      '{"jsonrpc":"2.0","method":"version"}',
      '{"jsonrpc":"2.0","method":"retry"}',
      'half a mess',
      '[]',
      'null',
      '{"jsonrpc":"2.0","id":{},"method":"version"}',
      '{"jsonrpc":"2.0","id":1,"method":7}',
      '{"id":1,"method":"version"}',
    ];
    assert.deepEqual(await exchange(`${lines.join('\n')}\n`), [
      failure(null, CODES.parse, 'the line is not JSON'),
      failure(null, CODES.invalidRequest, 'batches are not taken: send a request a line'),
      failure(null, CODES.invalidRequest, '"jsonrpc": "2.0" is missing'),
      failure(null, CODES.invalidRequest, '"id" is not a text or a number'),
      failure(null, CODES.invalidRequest, '"method" is not a text'),
      failure(null, CODES.invalidRequest, '"jsonrpc": "2.0" is missing'),
    ]);
    assert.deepEqual(handled, ['version', 'retry']);
  });

  test('the client: calls side by side, errors as errors, a daemon that ends', async (t) => {
    const { path, server } = makeRig(t);
    using client = await ControlClient.connect(path);
    const answers = await Promise.all([client.call('version', {}), client.call('queues', {})]);
    assert.deepEqual(answers, [{ belfry: '1.2.3', protocol: 1, pid: 4 }, { queues: [] }]);
    await assert.rejects(client.call('retry', {}), new RpcError(CODES.failed, 'the disk is not broken'));
    server[Symbol.dispose]();
    await client.ended;
    await assert.rejects(client.call('version', {}), /the daemon ended before it answered/);
  });
});

suite('events', () => {
  test('a client gets those it asked for, by level and by name, until it asks for none', async (t) => {
    const { path, server } = makeRig(t);
    using client = await ControlClient.connect(path);
    const got: string[] = [];
    client.onEvent = ({ event, level }) => void got.push(`${event} ${level}`);
    const publish = async (...events: [string, ControlEvent['level']][]): Promise<void> => {
      for (const [event, level] of events) server.publish({ ...EVENT, event, level });
      await client.call('version', {}); // its answer comes after them
    };
    await publish(['left', 'info']);
    await client.call('subscribe', {});
    await publish(['left', 'info'], ['log', 'warning']);
    await client.call('subscribe', { level: 'warning' });
    await publish(['left', 'info'], ['store-waits', 'warning'], ['died', 'error']);
    await client.call('subscribe', { events: ['resized', 'held'] });
    await publish(['left', 'info'], ['resized', 'info'], ['held', 'error']);
    await client.call('unsubscribe', {});
    await publish(['resized', 'info']);
    assert.deepEqual(got, [
      'left info',
      'log warning',
      'store-waits warning',
      'died error',
      'resized info',
      'held error',
    ]);
  });

  test('a client that does not read loses events, and is told how many; another one loses none', async (t) => {
    const { path, server } = makeRig(t);
    const deaf = await connected(path);
    deaf.write(request(1, 'subscribe', {}));
    await once(deaf, 'data');
    deaf.pause();
    const answered = new Promise((resolve) => deaf.once('data', resolve));
    using other = await ControlClient.connect(path);
    let heard = 0;
    other.onEvent = () => void heard++;
    await other.call('subscribe', {});
    const EVENTS = 5000;
    for (let i = 0; i < EVENTS; i++) {
      server.publish(EVENT);
      if (i % 100 === 99) await other.call('version', {});
    }
    assert.equal(heard, EVENTS);
    deaf.resume();
    await answered;
    let text = '';
    deaf.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    // The first event that there is room for again says what was left out.
    await eventually('the loss is told', () => {
      server.publish(EVENT);
      return text.includes('"lost"');
    });
    const lost = text.split('\n').find((line) => line.includes('"lost"')) ?? '';
    assert.ok(JSON.parse(lost).params.count > 0, lost);
    deaf.destroy();
  });
});

suite('bounds', () => {
  test('a line that is too long ends its connection, whether or not it ends', async (t) => {
    const { handled, exchange } = makeRig(t);
    const refusal = failure(null, CODES.refused, `a line has at most ${LINE_CHARS_MAX} characters`);
    assert.deepEqual(await exchange('x'.repeat(LINE_CHARS_MAX + 1)), [refusal]);
    const padded = request(1, 'version', { x: 'y'.repeat(LINE_CHARS_MAX) });
    assert.deepEqual(await exchange(padded), [refusal]);
    assert.deepEqual(handled, []);
  });

  test('half a message and no more keeps nobody waiting', async (t) => {
    const { path, exchange } = makeRig(t);
    const half = await connected(path);
    half.write('{"jsonrpc":"2.0","id":1,"meth');
    assert.equal((await exchange(request(1, 'version'))).length, 1);
    assert.deepEqual(await exchange('{"jsonrpc":"2.0","id":1,"meth'), []);
    half.destroy();
  });

  test('a client too many is told so, and takes the place of one that has left', async (t) => {
    const { path, exchange } = makeRig(t);
    const clients = await Promise.all(Array.from({ length: CLIENTS_MAX }, () => ControlClient.connect(path)));
    await Promise.all(clients.map((client) => client.call('version', {})));
    const refusal = failure(null, CODES.refused, '16 clients are connected, and that is the most');
    assert.deepEqual(await exchange(''), [refusal]);
    using late = await ControlClient.connect(path);
    await assert.rejects(late.call('version', {}), /16 clients are connected/);
    clients[0]?.[Symbol.dispose]();
    await eventually('there is room', async () => (await exchange(request(1, 'version'))).length === 1);
    for (const client of clients) client[Symbol.dispose]();
  });

  test('answers that are not read: no further request of that client is served, and others are', async (t) => {
    const { path, handled, exchange } = makeRig(t);
    const deaf = await connected(path);
    deaf.pause();
    // Far more than a socket and the bounds hold.
    const MANY = 50_000;
    deaf.write(request('x'.repeat(1000), 'version').repeat(MANY));
    let before = -1;
    await eventually('it waits for its reader', async () => {
      const isStill = handled.length === before && handled.length > 100;
      before = handled.length;
      const answers = await exchange(request(1, 'queues'));
      assert.equal(answers.length, 1);
      before++;
      return isStill;
    });
    assert.ok(handled.length < MANY);
    deaf.destroy();
  });
});
