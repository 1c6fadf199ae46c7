// The inputs and outputs of a console: streams, generators, descriptors, functions; and that it closes them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  closeSync,
  createWriteStream,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { after, suite, test } from 'node:test';
import { DeviceLoopback } from '../../testing/device-loopback.ts';
import type { LoopbackQueue } from '../../testing/loopback-queue.ts';
import { makePipe } from '../../testing/pipe.ts';
import { ConsoleDevice, type ConsoleDeviceOptions } from './console-device.ts';
import { INPUT_BYTES_MAX } from './console-input.ts';
import type { ConsoleSink } from './console-output.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-console-'));
after(() => rmSync(folder, { recursive: true }));

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const ignore = (): void => {};

/** Runs many turns of the loop, so that everything that needs no outside event has happened. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

interface Guest extends AsyncDisposable {
  readonly device: ConsoleDevice;
  readonly loop: DeviceLoopback;
  /** Offers one buffer after another until so many bytes were received. */
  read(count: number): Promise<string>;
  write(text: string): Promise<unknown>;
}

async function boot(options: Partial<ConsoleDeviceOptions>): Promise<Guest> {
  const device = new ConsoleDevice({ output: ignore, ...options });
  const loop = await DeviceLoopback.start(device);
  const [receive, transmit] = loop.queues as [LoopbackQueue, LoopbackQueue];
  return {
    device,
    loop,
    async read(count) {
      const pieces: Uint8Array[] = [];
      for (let left = count; left > 0; ) {
        const { bytes, written } = await receive.request({ writable: [left] });
        pieces.push(bytes.subarray(0, written));
        left -= written;
      }
      return Buffer.concat(pieces).toString();
    },
    write: (text) => transmit.request({ readable: [bytesOf(text)] }),
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}

suite('input', () => {
  test('a stream of Node’s: bytes or text, until its end', async () => {
    const input = new PassThrough();
    await using guest = await boot({ input });
    input.write('héllo ');
    assert.equal(await guest.read(7), 'héllo ');
    input.setEncoding('utf8');
    input.end('wörld');
    assert.equal(await guest.read(6), 'wörld');
    await settled();
    await guest.device.push('!');
    assert.equal(await guest.read(1), '!');
    assert.deepEqual(guest.loop.lines, []);
  });

  test('an async generator: a script that types', async () => {
    async function* script() {
      yield 'root\n';
      await turn();
      yield bytesOf('poweroff\n');
    }
    await using guest = await boot({ input: script() });
    assert.equal(await guest.read(14), 'root\npoweroff\n');
  });

  test('it is not read before the driver is there, and by one device of several', async () => {
    let reads = 0;
    const input = {
      async *[Symbol.asyncIterator]() {
        reads++;
        yield 'x';
      },
    };
    const replica = new ConsoleDevice({ input, output: ignore });
    replica.attach?.({} as never);
    await settled();
    assert.equal(reads, 0);
    await using guest = await boot({ input });
    assert.equal(await guest.read(1), 'x');
    await guest.loop.reset();
    await settled();
    assert.equal(reads, 1);
  });

  test(`it is not read while ${INPUT_BYTES_MAX} bytes wait for the guest`, async () => {
    const piece = INPUT_BYTES_MAX / 4;
    let made = 0;
    const input = Readable.from(
      (async function* () {
        for (; made < 16; made++) yield Buffer.alloc(piece, 0x41 + made);
      })(),
      { highWaterMark: 1 },
    );
    await using guest = await boot({ input });
    await settled();
    const madeBefore = made;
    assert.ok(madeBefore <= 6, `${madeBefore} pieces`); // four wait in the buffer, one for room, one is ready
    assert.equal((await guest.read(16 * piece)).at(-1), 'P');
    assert.equal(made, 16);
    assert.deepEqual(guest.loop.lines, []);
  });

  test('a stream that fails is logged, and the guest goes on', async () => {
    const input = new PassThrough();
    await using guest = await boot({ input });
    input.write('a');
    assert.equal(await guest.read(1), 'a');
    input.destroy(new Error('read ECONNRESET'));
    await settled();
    assert.deepEqual(guest.loop.lines, ['console: the input ended: read ECONNRESET']);
    await guest.write('still here');
  });

  test('a descriptor is watched, read when it is readable, up to its end', async () => {
    const { readFd, writeFd } = await makePipe();
    let isBusy = true;
    const read = (into: Uint8Array): number => {
      if (isBusy) {
        isBusy = false;
        throw Object.assign(new Error('somebody else was faster'), { code: 'EAGAIN' });
      }
      return readSync(readFd, into);
    };
    await using guest = await boot({ input: { fd: readFd, read } });
    writeSync(writeFd, 'from a pipe');
    assert.equal(await guest.read(11), 'from a pipe');
    writeSync(writeFd, '.');
    closeSync(writeFd);
    assert.equal(await guest.read(1), '.');
    await settled();
    assert.deepEqual(guest.loop.lines, []);
    closeSync(readFd);
  });

  test('a descriptor is not read while there is no room for its bytes', async () => {
    const { readFd, writeFd } = await makePipe();
    await using guest = await boot({ input: { fd: readFd, read: (into) => readSync(readFd, into) } });
    await guest.device.push(new Uint8Array(INPUT_BYTES_MAX - 1));
    writeSync(writeFd, 'ab');
    await settled();
    writeSync(writeFd, 'c');
    await settled();
    assert.equal(readSync(readFd, new Uint8Array(8)), 1, 'the last is in the pipe still');
    assert.equal((await guest.read(INPUT_BYTES_MAX + 1)).slice(-2), 'ab');
    closeSync(writeFd);
    closeSync(readFd);
  });

  test('a descriptor that cannot be watched is named', async () => {
    const fd = openSync(import.meta.filename, 'r');
    await using guest = await boot({ input: { fd, read: (into) => readSync(fd, into) } });
    await settled();
    assert.equal(guest.loop.lines.length, 1);
    assert.match(
      guest.loop.lines[0] as string,
      /the input ended: epoll_ctl: EPERM: .*descriptor \d+ cannot be watched/,
    );
    closeSync(fd);
  });
});

suite('output', () => {
  test('a file', async () => {
    const path = join(folder, 'console.log');
    const output = createWriteStream(path);
    await using guest = await boot({ output });
    for (const text of ['one ', 'two ', 'three']) await guest.write(text);
    assert.equal(readFileSync(path, 'utf8'), 'one two three');
    output.end();
  });

  test('a stream whose reader is slow keeps only the guest waiting', async () => {
    const output = new PassThrough({ highWaterMark: 4 });
    await using guest = await boot({ output });
    let isDone = false;
    const done = (async () => {
      for (const text of ['first', 'second', 'third']) await guest.write(text);
      isDone = true;
    })();
    await settled();
    assert.equal(isDone, false);
    assert.ok(output.readableLength + output.writableLength <= 'firstsecond'.length);
    let seen = '';
    output.setEncoding('utf8').on('data', (text) => {
      seen += text;
    });
    await done;
    await settled();
    assert.equal(seen, 'firstsecondthird');
  });

  test('a socket, in both directions; once it is closed output is lost and logged', async () => {
    const path = join(folder, 'terminal.sock');
    const server = createServer().listen(path);
    await once(server, 'listening');
    const terminal = connect(path);
    const [socket] = await once(server, 'connection');
    await using guest = await boot({ input: socket, output: socket });
    terminal.write('ls\n');
    assert.equal(await guest.read(3), 'ls\n');
    await guest.write('bin etc');
    const [seen] = await once(terminal, 'data');
    assert.equal(String(seen), 'bin etc');
    terminal.destroy();
    await once(socket, 'close');
    await guest.write('anybody?');
    assert.match(guest.loop.lines.at(-1) as string, /^console: 8 bytes of output are lost: /);
    server.close();
  });
});

suite('close', () => {
  test('destroys the stream that it read, and reads no more', async () => {
    const input = new PassThrough();
    {
      await using _ = await boot({ input });
      await settled();
    }
    assert.equal(input.destroyed, true);
  });

  test('waits for the sink to have everything that the guest wrote', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const events: string[] = [];
    const output: ConsoleSink = () => promise.then(() => events.push('written'));
    const guest = await boot({ output });
    void guest.loop.queues[1]?.request({ readable: [bytesOf('bye')] }).catch(ignore);
    await settled();
    await guest.loop.pause();
    const closed = guest[Symbol.asyncDispose]().then(() => events.push('closed'));
    await settled();
    assert.deepEqual(events, []);
    resolve();
    await closed;
    assert.deepEqual(events, ['written', 'closed']);
  });
});
