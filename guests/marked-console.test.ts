// guests: the session is extracted from the console, in whatever pieces that arrives.
import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { MarkedConsole } from './marked-console.ts';

const MARK = 'BELFRY-1234';

/** Returns what passes of `bytes`, arriving in pieces of `size` bytes, and the console afterwards. */
async function passed(bytes: Uint8Array, size: number): Promise<[Uint8Array, MarkedConsole]> {
  const console = new MarkedConsole(MARK);
  const all = buffer(console);
  for (let at = 0; at < bytes.length; at += size) console.write(bytes.slice(at, at + size));
  console.end();
  return [new Uint8Array(await all), console];
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

test('only what is between the marks passes, and the exit code is found, in pieces of any size', async () => {
  const session = `BELFRY-12 is no mark, ${MARK} alone neither\r\nprompt# `;
  const bytes = bytesOf(`boot\n${MARK} be\n${MARK} begin\r\n${session}${MARK} exit 42\r\nreboot: done\n`);
  for (let size = 1; size <= bytes.length; size++) {
    const [shown, console] = await passed(bytes, size);
    assert.equal(new TextDecoder().decode(shown), session, `pieces of ${size}`);
    assert.deepEqual([console.exitCode, console.hasBegun], [42, true]);
    assert.deepEqual(console.bootLines(9), ['boot', `${MARK} be`]);
  }
});

test('every byte passes as it is', async () => {
  const session = Uint8Array.from({ length: 256 }, (_, i) => i);
  const [shown, console] = await passed(Buffer.concat([bytesOf(`${MARK} begin\n`), session]), 7);
  assert.deepEqual(shown, session);
  assert.equal(console.exitCode, undefined);
});

test('a key is shown at once, unless it may be the beginning of a mark', async () => {
  const console = new MarkedConsole(MARK);
  console.write(bytesOf(`${MARK} begin\nab`));
  await console.begun;
  assert.equal(`${console.read()}`, 'ab');
  console.write(bytesOf('B'));
  assert.equal(console.read(), null);
  console.write(bytesOf('c'));
  assert.equal(`${console.read()}`, 'Bc');
});

test('for a guest that never began its session the last lines are kept, up to a limit', async () => {
  const [shown, console] = await passed(bytesOf(`${'x'.repeat(100_000)}\nwhy\n\npanic`), 1000);
  assert.deepEqual([shown.length, console.hasBegun, console.exitCode], [0, false, undefined]);
  assert.deepEqual(console.bootLines(2), ['why', 'panic']);
  assert.ok((console.bootLines(3)[0] as string).length < 20_000);
});
