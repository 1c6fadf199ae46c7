// The serial port, by the rules of the 16550's data sheet, and as drivers probe it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RECEIVE_FIFO_BYTES, SerialPort } from './serial-port.ts';

const DATA = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const OUT2 = 8;
const LOOPBACK = 0x10;
const RECEIVED = 1;
const EMPTY = 2;

/** A port whose driver has set OUT2, which enables the interrupt line. */
function opened(enable = 0) {
  const sent: number[] = [];
  const line: boolean[] = [];
  const status: (number | undefined)[] = [];
  let rooms = 0;
  const port = new SerialPort({
    transmit: (byte) => void sent.push(byte),
    interrupt: (isHigh) => line.push(isHigh),
    status: (value) => status.push(value),
    onRoom: () => rooms++,
  });
  port.write(MCR, OUT2);
  port.write(IER, enable);
  const type = (text: string): number => port.receive(new TextEncoder().encode(text));
  return { port, sent, line, type, rooms: () => rooms, status: () => status.at(-1) };
}

test('a written byte is sent, and the transmitter is empty again at once', () => {
  const { port, sent } = opened();
  port.write(DATA, 0x41);
  port.write(DATA, 0x42);
  assert.deepEqual(sent, [0x41, 0x42]);
  assert.equal(port.read(LSR), 0x60);
});

test('a write waits while the console is full', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const port = new SerialPort({ transmit: () => promise, interrupt: () => {} });
  assert.equal(port.write(DATA, 1), promise);
  resolve();
});

test('DLAB shows the divisor in place of data and interrupt enable, and hides it again', () => {
  const { port, sent } = opened(RECEIVED);
  port.write(LCR, 0x80);
  port.write(DATA, 0x01);
  port.write(IER, 0x02);
  assert.deepEqual([port.read(DATA), port.read(IER)], [0x01, 0x02]);
  port.write(LCR, 0x03);
  assert.deepEqual([port.read(IER), port.read(LCR), sent], [RECEIVED, 0x03, []]);
});

test('the interrupt enable register has four bits, the scratch register eight', () => {
  const { port } = opened();
  port.write(IER, 0xff);
  port.write(SCR, 0xa5);
  assert.deepEqual([port.read(IER), port.read(SCR)], [0x0f, 0xa5]);
});

test('the FIFOs show in IIR once FCR has enabled them: that is how a 16550A is told from a 16450', () => {
  const { port } = opened();
  assert.equal(port.read(IIR), 0x01);
  port.write(FCR, 0x01);
  assert.equal(port.read(IIR), 0xc1);
  port.write(FCR, 0x00);
  assert.equal(port.read(IIR), 0x01);
});

test('received bytes raise the line until they are read', () => {
  const { port, line, type } = opened(RECEIVED);
  assert.equal(type('hi'), 2);
  assert.deepEqual([port.read(IIR), port.read(LSR), line], [0x04, 0x61, [true]]);
  assert.equal(port.read(DATA), 'h'.charCodeAt(0));
  assert.deepEqual(line, [true]);
  assert.equal(port.read(DATA), 'i'.charCodeAt(0));
  assert.deepEqual([port.read(LSR), port.read(IIR), line], [0x60, 0x01, [true, false]]);
  assert.equal(port.read(DATA), 0, 'an empty FIFO gives zero');
});

test('the FIFO takes 16 bytes, returns how many, and calls onRoom when it is empty', () => {
  const { port, type, rooms } = opened(RECEIVED);
  assert.equal(type('x'.repeat(20)), RECEIVE_FIFO_BYTES);
  assert.equal(type('x'), 0);
  for (let i = 0; i < RECEIVE_FIFO_BYTES - 1; i++) port.read(DATA);
  assert.equal(rooms(), 0);
  port.read(DATA);
  assert.equal(rooms(), 1);
});

test('clearing the receiver drops received bytes, lowers the line and calls onRoom', () => {
  const { port, line, type, rooms } = opened(RECEIVED);
  type('abc');
  port.write(FCR, 0x03);
  assert.deepEqual([port.read(LSR), line, rooms()], [0x60, [true, false], 1]);
});

test('an empty transmitter interrupts when that is enabled, and after each byte; reading IIR clears it', () => {
  const { port, line } = opened(EMPTY);
  assert.deepEqual(line, [true]);
  assert.equal(port.read(IIR), 0x02);
  assert.deepEqual([port.read(IIR), line], [0x01, [true, false]]);
  port.write(DATA, 0x41);
  assert.deepEqual(line, [true, false, true]);
  port.write(IER, 0);
  assert.deepEqual(line, [true, false, true, false]);
});

test('enabling it once more is no new interrupt, unless it was disabled meanwhile', () => {
  const { port } = opened(EMPTY);
  port.read(IIR);
  port.write(IER, EMPTY);
  assert.equal(port.read(IIR), 0x01);
  port.write(IER, 0);
  port.write(IER, EMPTY);
  assert.equal(port.read(IIR), 0x02);
});

test('received data comes before an empty transmitter, and that before the modem', () => {
  const { port, type } = opened();
  port.write(IER, 0x0f);
  port.write(MCR, OUT2 | LOOPBACK);
  port.write(MCR, OUT2);
  type('a');
  assert.equal(port.read(IIR), 0x04);
  port.read(DATA);
  assert.equal(port.read(IIR), 0x02);
  assert.equal(port.read(IIR), 0x00);
  port.read(MSR);
  assert.equal(port.read(IIR), 0x01);
});

test('without OUT2 nothing reaches the interrupt line of a PC', () => {
  const { port, line, type } = opened(RECEIVED);
  port.write(MCR, 0);
  type('a');
  assert.deepEqual(line, []);
  port.write(MCR, OUT2);
  assert.deepEqual(line, [true]);
});

test('in loopback outputs are connected to inputs, which drivers probe first', () => {
  const { port } = opened();
  port.write(MCR, LOOPBACK | 0x0a);
  assert.equal(port.read(MSR) & 0xf0, 0x90, 'RTS to CTS, OUT2 to DCD');
  port.write(MCR, LOOPBACK | 0x05);
  assert.equal(port.read(MSR) & 0xf0, 0x60, 'DTR to DSR, OUT1 to RI');
  port.write(MCR, OUT2);
  assert.equal(port.read(MSR) & 0xf0, 0xb0, 'somebody is at the other end');
});

test('reading the modem status clears its change bits', () => {
  const { port } = opened();
  port.write(MCR, LOOPBACK);
  assert.equal(port.read(MSR), 0x0b);
  assert.equal(port.read(MSR), 0x00);
});

test('in loopback bytes are received and not sent; the seventeenth is an overrun, reported once', () => {
  const { port, sent, type, status } = opened();
  port.write(MCR, LOOPBACK);
  assert.equal(type('outside'), 0);
  for (let byte = 0; byte < RECEIVE_FIFO_BYTES + 1; byte++) port.write(DATA, byte);
  assert.equal(status(), undefined, 'reading the status changes it');
  assert.deepEqual([port.read(LSR), port.read(LSR), status()], [0x63, 0x61, 0x61]);
  const back = Array.from({ length: RECEIVE_FIFO_BYTES }, () => port.read(DATA));
  assert.deepEqual([back[0], back[15], sent], [0, 15, []]);
});

test('the shared line status is what a read returns', () => {
  const { port, type, status } = opened();
  assert.equal(status(), port.read(LSR));
  type('a');
  assert.equal(status(), 0x61);
  port.read(DATA);
  assert.equal(status(), 0x60);
});

test('writes to the status registers change nothing', () => {
  const { port } = opened();
  port.write(LSR, 0xff);
  port.write(MSR, 0xff);
  assert.deepEqual([port.read(LSR), port.read(MSR)], [0x60, 0xb0]);
});
