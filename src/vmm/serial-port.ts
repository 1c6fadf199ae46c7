// vmm: a 16550A by the data sheet of the PC16550D, whose line is as fast as the console.
import type { ByteRegisters } from './byte-registers.ts';

/** Registers by offset; the first two are the divisor's halves while LCR.DLAB is set. */
const DATA = 0;
const INTERRUPT_ENABLE = 1;
/** Read: interrupt identification (IIR). Write: FIFO control (FCR). */
const INTERRUPT_ID = 2;
const LINE_CONTROL = 3;
const MODEM_CONTROL = 4;
export const LINE_STATUS = 5;
const MODEM_STATUS = 6;
const SCRATCH = 7;

const IER_RECEIVED = 1;
const IER_TRANSMITTER_EMPTY = 2;
const IER_MODEM_STATUS = 8;

const IIR_NONE = 1;
const IIR_MODEM_STATUS = 0;
const IIR_TRANSMITTER_EMPTY = 2;
const IIR_RECEIVED = 4;
const IIR_FIFOS_ENABLED = 0xc0;

const FCR_ENABLE = 1;
const FCR_CLEAR_RECEIVER = 2;

const LCR_DLAB = 0x80;

const MCR_OUT2 = 8;
const MCR_LOOPBACK = 0x10;

const LSR_DATA_READY = 1;
const LSR_OVERRUN = 2;
/** The holding register and the shift register are empty: a written byte is sent at once. */
const LSR_TRANSMITTER_EMPTY = 0x60;

/** CTS, DSR and DCD: the other end is connected. */
const MSR_CONNECTED = 0xb0;

export const RECEIVE_FIFO_BYTES = 16;
/** How many registers the guest sees. */
export const SERIAL_PORT_BYTES = 8;

/** What a serial port is connected to. */
export interface SerialLine {
  /** Sends a byte. If it returns a promise, the guest waits. */
  transmit(byte: number): void | Promise<void>;
  /** Sets the interrupt line; called for changes only. */
  interrupt(isHigh: boolean): void;
  /** Called after every access with the line status register; undefined while a read of it would change it. */
  status?(value: number | undefined): void;
  /** Called when `receive` takes more again. */
  onRoom?(): void;
}

/** One serial port. */
export class SerialPort implements ByteRegisters {
  readonly #line: SerialLine;
  readonly #received: number[] = [];
  #divisor = 12;
  #interruptEnable = 0;
  #fifosEnabled = false;
  #lineControl = 0;
  #modemControl = 0;
  #scratch = 0;
  #overrun = false;
  /** The "transmitter empty" interrupt is pending: set by a write, cleared by a read of IIR. */
  #transmitterEmptied = false;
  #modemChanges = 0;
  #wasHigh = false;

  constructor(line: SerialLine) {
    this.#line = line;
  }

  /** Puts received bytes into the FIFO; returns how many had room. */
  receive(bytes: Uint8Array): number {
    // In loopback nothing is received from outside.
    const taken = bytes.subarray(0, this.#isLooped ? 0 : RECEIVE_FIFO_BYTES - this.#received.length);
    this.#received.push(...taken);
    this.#updateLine();
    return taken.length;
  }

  read(offset: number): number {
    const value = this.#read(offset);
    this.#updateLine();
    return value;
  }

  #read(offset: number): number {
    switch (offset) {
      case DATA:
        return this.#isDivisorShown ? this.#divisor & 0xff : this.#readData();
      case INTERRUPT_ENABLE:
        return this.#isDivisorShown ? this.#divisor >> 8 : this.#interruptEnable;
      case INTERRUPT_ID:
        return this.#readInterruptId();
      case LINE_CONTROL:
        return this.#lineControl;
      case MODEM_CONTROL:
        return this.#modemControl;
      case LINE_STATUS:
        return this.#readLineStatus();
      case MODEM_STATUS:
        return this.#readModemStatus();
      default:
        return this.#scratch;
    }
  }

  write(offset: number, value: number): void | Promise<void> {
    const wait = this.#write(offset, value);
    this.#updateLine();
    return wait;
  }

  #write(offset: number, value: number): void | Promise<void> {
    switch (offset) {
      case DATA:
        if (this.#isDivisorShown) this.#divisor = (this.#divisor & 0xff00) | value;
        else return this.#writeData(value);
        break;
      case INTERRUPT_ENABLE:
        this.#writeInterruptEnable(value);
        break;
      case INTERRUPT_ID:
        this.#fifosEnabled = (value & FCR_ENABLE) !== 0;
        if ((value & FCR_CLEAR_RECEIVER) !== 0) this.#clearReceiver();
        break;
      case LINE_CONTROL:
        this.#lineControl = value;
        break;
      case MODEM_CONTROL:
        this.#writeModemControl(value & 0x1f);
        break;
      case SCRATCH:
        this.#scratch = value;
        break;
      default: // LSR and MSR are read-only
    }
  }

  get #isDivisorShown(): boolean {
    return (this.#lineControl & LCR_DLAB) !== 0;
  }

  get #isLooped(): boolean {
    return (this.#modemControl & MCR_LOOPBACK) !== 0;
  }

  #readData(): number {
    const byte = this.#received.shift() ?? 0;
    if (this.#received.length === 0) this.#line.onRoom?.();
    return byte;
  }

  #clearReceiver(): void {
    this.#received.length = 0;
    this.#line.onRoom?.();
  }

  #writeData(byte: number): void | Promise<void> {
    this.#transmitterEmptied = true;
    if (!this.#isLooped) return this.#line.transmit(byte);
    if (this.#received.length < RECEIVE_FIFO_BYTES) this.#received.push(byte);
    else this.#overrun = true;
    return undefined;
  }

  #writeInterruptEnable(value: number): void {
    if (this.#isDivisorShown) {
      this.#divisor = (this.#divisor & 0xff) | (value << 8);
      return;
    }
    // Enabling the interrupt of an empty transmitter raises it at once: drivers wait for it before they send.
    if ((value & ~this.#interruptEnable & IER_TRANSMITTER_EMPTY) !== 0) this.#transmitterEmptied = true;
    this.#interruptEnable = value & 0x0f;
  }

  #writeModemControl(value: number): void {
    const before = this.#modemStatus;
    const wasLooped = this.#isLooped;
    this.#modemControl = value;
    // Bit n of the changes is for bit n + 4 of the lines.
    this.#modemChanges |= (before ^ this.#modemStatus) >> 4;
    if (wasLooped && !this.#isLooped) this.#line.onRoom?.();
  }

  /** In loopback the outputs are connected to the inputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD. */
  get #modemStatus(): number {
    if (!this.#isLooped) return MSR_CONNECTED;
    const control = this.#modemControl;
    return ((control & 2) << 3) | ((control & 1) << 5) | ((control & 4) << 4) | ((control & 8) << 4);
  }

  #readModemStatus(): number {
    const value = this.#modemStatus | this.#modemChanges;
    this.#modemChanges = 0;
    return value;
  }

  get #lineStatus(): number {
    return LSR_TRANSMITTER_EMPTY | (this.#received.length > 0 ? LSR_DATA_READY : 0) | (this.#overrun ? LSR_OVERRUN : 0);
  }

  #readLineStatus(): number {
    const value = this.#lineStatus;
    this.#overrun = false;
    return value;
  }

  /** The pending interrupt of the highest priority, without the FIFO bits. */
  get #interruptId(): number {
    const enabled = this.#interruptEnable;
    if ((enabled & IER_RECEIVED) !== 0 && this.#received.length > 0) return IIR_RECEIVED;
    if ((enabled & IER_TRANSMITTER_EMPTY) !== 0 && this.#transmitterEmptied) return IIR_TRANSMITTER_EMPTY;
    if ((enabled & IER_MODEM_STATUS) !== 0 && this.#modemChanges !== 0) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  #readInterruptId(): number {
    const id = this.#interruptId;
    // This one is cleared by "Reading the IIR (if source of interrupt)".
    if (id === IIR_TRANSMITTER_EMPTY) this.#transmitterEmptied = false;
    return id | (this.#fifosEnabled ? IIR_FIFOS_ENABLED : 0);
  }

  /** Updates status and interrupt line. On a PC the interrupt is gated by OUT2, except in loopback. */
  #updateLine(): void {
    this.#line.status?.(this.#overrun ? undefined : this.#lineStatus);
    const isOpen = (this.#modemControl & MCR_OUT2) !== 0 || this.#isLooped;
    const isHigh = isOpen && this.#interruptId !== IIR_NONE;
    if (isHigh === this.#wasHigh) return;
    this.#wasHigh = isHigh;
    this.#line.interrupt(isHigh);
  }
}
