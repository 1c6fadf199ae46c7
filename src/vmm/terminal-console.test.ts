// The console on a terminal and on pipes: raw mode and its end, Ctrl-A x, and flow control in both directions.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { eventually } from '../testing/patience.ts';
import { TerminalConsole, type TerminalConsoleOptions } from './terminal-console.ts';

const text = (bytes: Iterable<number>): string => String.fromCharCode(...bytes);

class Input extends EventEmitter {
  readonly isTTY: boolean;
  readonly modes: boolean[] = [];
  paused = true;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  setRawMode(raw: boolean): void {
    this.modes.push(raw);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  type(typed: string): void {
    this.emit('data', new TextEncoder().encode(typed));
  }
}

class Output extends EventEmitter {
  destroyed = false;
  isFull = false;
  readonly written: string[] = [];

  write(bytes: Uint8Array): boolean {
    this.written.push(text(bytes));
    return !this.isFull;
  }
}

function connected({ isTTY = true, room = 1000 } = {}) {
  const input = new Input(isTTY);
  const output = new Output();
  const left: string[] = [];
  const options = { input, output, onLeave: () => left.push('left') } as unknown as TerminalConsoleOptions;
  const console = new TerminalConsole(options);
  const received: number[] = [];
  const state = { room };
  console.start((bytes) => {
    const taken = bytes.subarray(0, state.room - received.length);
    received.push(...taken);
    return taken.length;
  });
  return { input, output, left, console, received, state };
}

test('a terminal is in raw mode while the guest uses it, and as before afterwards', () => {
  const { input, console } = connected();
  assert.deepEqual([input.modes, input.paused], [[true], false]);
  console.stop();
  assert.deepEqual([input.modes, input.paused], [[true, false], true]);
  console.stop();
  assert.deepEqual(input.modes, [true, false], 'once');
});

test('the terminal is restored when the process exits for another reason', () => {
  const before = process.listeners('exit');
  const { input, console } = connected();
  for (const listener of process.listeners('exit')) if (!before.includes(listener)) listener(0);
  assert.deepEqual(input.modes, [true, false]);
  console.stop();
  assert.deepEqual(process.listeners('exit'), before);
});

test('Ctrl-A x leaves; Ctrl-A Ctrl-A sends one Ctrl-A to the guest', () => {
  const { input, left, received, console } = connected();
  input.type('a\x01');
  assert.deepEqual(left, []);
  input.type('x');
  assert.deepEqual([text(received), left], ['a', ['left']]);
  input.type('\x01\x01\x01z');
  assert.equal(text(received), 'a\x01z');
  console.stop();
});

test('on a pipe every byte goes to the guest', () => {
  const { input, left, received, console } = connected({ isTTY: false });
  input.type('a\x01x');
  assert.deepEqual([text(received), left, input.modes], ['a\x01x', [], []]);
  console.stop();
});

test('input waits while the guest does not take it, in order', () => {
  const { input, received, state, console } = connected({ isTTY: false, room: 3 });
  input.type('abcde');
  assert.deepEqual([text(received), input.paused], ['abc', true]);
  input.type('fg');
  state.room = 5;
  console.onRoom();
  assert.deepEqual([text(received), input.paused], ['abcde', true]);
  state.room = 100;
  console.onRoom();
  assert.deepEqual([text(received), input.paused], ['abcdefg', false]);
  console.stop();
});

test('output is gathered for a moment, and flushed at the end', async () => {
  const { output, console } = connected();
  for (const byte of new TextEncoder().encode('hello')) console.write(byte);
  assert.deepEqual(output.written, []);
  await eventually('output', () => output.written.length > 0);
  assert.deepEqual(output.written, ['hello']);
  console.write(33);
  console.stop();
  assert.deepEqual(output.written, ['hello', '!']);
});

for (const event of ['drain', 'close', 'error']) {
  test(`a guest that writes to a full pipe waits until ${event}`, async () => {
    const { output, console } = connected();
    output.isFull = true;
    for (let i = 0; i < 4096; i++) console.write(46);
    const wait = console.write(46);
    assert.ok(wait instanceof Promise);
    output.isFull = false;
    output.emit(event, new Error('gone'));
    await wait;
    assert.equal(console.write(46), undefined);
    console.stop();
    assert.equal(output.written.join('').length, 4098);
  });
}

test('a guest does not wait for a reader that is gone', () => {
  const { output, console } = connected();
  output.isFull = output.destroyed = true;
  for (let i = 0; i < 5000; i++) assert.equal(console.write(46), undefined);
  console.stop();
});
