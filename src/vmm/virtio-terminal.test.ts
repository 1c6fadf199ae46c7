// The guest's /dev/hvc0 on a terminal: input waits while the guest does not read, output while the terminal does not.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { DeviceLoopback } from '../testing/device-loopback.ts';
import { eventually } from '../testing/patience.ts';
import { TerminalConsole } from './terminal-console.ts';
import { VirtioTerminal } from './virtio-terminal.ts';

class Screen extends EventEmitter {
  destroyed = false;
  isFull = false;
  text = '';

  write(bytes: Uint8Array): boolean {
    this.text += new TextDecoder().decode(bytes);
    return !this.isFull;
  }
}

async function boot() {
  const input = new PassThrough();
  const screen = new Screen();
  const terminal = new TerminalConsole({ input, output: screen, onLeave() {} } as never);
  const console = new VirtioTerminal(terminal, { cols: 80, rows: 25 });
  console.start();
  return { input, screen, console, loop: await DeviceLoopback.start(console.device, { memoryBytes: 1 << 20 }) };
}

test('output of the port and of the serial line are shown in order, and keys are for the port', async () => {
  const { input, screen, console, loop } = await boot();
  await using guest = loop;
  const [receive, transmit] = guest.queues;
  for (const byte of new TextEncoder().encode('booting ')) void console.write(byte);
  await transmit?.request({ readable: [new TextEncoder().encode('login: ')] });
  assert.equal(screen.text, 'booting login: ');
  input.write('root\r');
  const used = await receive?.request({ writable: [64] });
  assert.equal(new TextDecoder().decode(used?.bytes.subarray(0, used.written)), 'root\r');
  assert.equal(guest.config().getUint16(0, true), 80);
  console.stop();
});

test('a terminal that does not take output lets the guest wait', async () => {
  const { screen, console, loop } = await boot();
  await using guest = loop;
  const [, transmit] = guest.queues;
  screen.isFull = true;
  const waits = transmit?.request({ readable: [new Uint8Array(8)] });
  await eventually('the output', () => screen.text.length === 8);
  assert.deepEqual(transmit?.harvest(), []);
  screen.emit('drain');
  await waits;
  console.stop();
});

test('a guest that does not read stops the terminal, and nothing is lost', async () => {
  const { input, console, loop } = await boot();
  await using guest = loop;
  let typed = 0;
  const seen: number[] = [];
  const more = (): void => {
    while (!input.writableNeedDrain && typed < 400_000) {
      input.write(new Uint8Array(1000).fill(typed / 1000));
      typed += 1000;
    }
  };
  input.on('drain', more);
  more();
  await eventually('the terminal to be stopped', () => input.isPaused());
  assert.ok(typed < 400_000, `${typed} bytes were taken`);
  while (seen.length < 400_000) {
    const used = await guest.queues[0]?.request({ writable: [8192] });
    seen.push(...(used?.bytes.subarray(0, used.written) ?? []));
  }
  assert.ok(seen.every((byte, i) => byte === (Math.floor(i / 1000) & 0xff)));
  assert.deepEqual(guest.lines, []);
  console.stop();
});
