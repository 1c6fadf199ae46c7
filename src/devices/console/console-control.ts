// virtio-console: what the driver has to be told of the ports, and what it says of them. §5.3.6.2.
// A message that is due is a bit of its port: a driver that reads none makes nothing grow.
import type { Log } from '../../virtio/log.ts';
import type { ConsoleSize } from './console-size.ts';
import { CONTROL, CONTROL_BYTES, EVENT } from './spec.ts';

/** A port, as far as messages are about it. */
export interface ControlledPort {
  readonly name: string | undefined;
  readonly isConsole: boolean;
  /** Whether the other end is open. */
  readonly isOpen: boolean;
  readonly size: ConsoleSize | undefined;
  /** The driver opened or closed it. */
  driverOpened(isOpen: boolean): void;
}

/** The order of the messages about one port. A console is nominated before it has a name, as QEMU does it. */
const ORDER = [
  EVENT.DEVICE_REMOVE,
  EVENT.DEVICE_ADD,
  EVENT.CONSOLE_PORT,
  EVENT.PORT_NAME,
  EVENT.RESIZE,
  EVENT.PORT_OPEN,
] as const;
type Message = (typeof ORDER)[number];

/** The port at a number, and what the driver knows of that number. */
class Slot {
  port: ControlledPort | undefined;
  /** DEVICE_ADD was sent, and DEVICE_REMOVE was not. */
  isAdded = false;
  /** The driver said that it has set the port up. */
  isReady = false;
  /** A bit for each message that is due. */
  due = 0;

  isDue(message: Message): boolean {
    return (this.due & (1 << message)) !== 0;
  }

  owe(message: Message): void {
    this.due |= 1 << message;
  }

  settle(message: Message): void {
    this.due &= ~(1 << message);
  }
}

/** The messages of the control queues, without the queues. */
export class ConsoleControl {
  readonly #slots: readonly Slot[];
  readonly #log: Log;
  #isDriverReady = false;
  /** The message that `next` returned. */
  #sending: { readonly slot: Slot; readonly message: Message } | undefined;

  /** @param log gets a line when the driver could not set something up. */
  constructor(maxPorts: number, log: Log) {
    this.#slots = Array.from({ length: maxPorts }, () => new Slot());
    this.#log = log;
  }

  /** A port comes: the driver is told of it now, or when it is ready. */
  add(id: number, port: ControlledPort): void {
    const slot = this.#slots[id] as Slot;
    slot.port = port;
    if (this.#isDriverReady) slot.owe(EVENT.DEVICE_ADD);
  }

  /** A port goes. Its number is free at once: the driver hears of that before it hears of another port there. */
  remove(id: number): void {
    const slot = this.#slots[id] as Slot;
    slot.port = undefined;
    slot.isReady = false;
    // What is due about it is not sent any more; a removal may be due of the port before it.
    slot.due &= 1 << EVENT.DEVICE_REMOVE;
    if (slot.isAdded) slot.owe(EVENT.DEVICE_REMOVE);
  }

  /** Something of a port changed: its size, or whether its other end is open. */
  changed(id: number, message: typeof EVENT.RESIZE | typeof EVENT.PORT_OPEN): void {
    const slot = this.#slots[id] as Slot;
    if (slot.isReady && (message !== EVENT.RESIZE || slot.port?.isConsole)) slot.owe(message);
  }

  /** The driver is gone: the next one is told everything. */
  reset(): void {
    this.#isDriverReady = false;
    this.#sending = undefined;
    for (const slot of this.#slots) {
      slot.isAdded = slot.isReady = false;
      slot.due = 0;
    }
  }

  /** Takes a message of the driver. One that makes no sense changes nothing. */
  receive(bytes: Uint8Array): void {
    if (bytes.length < CONTROL_BYTES) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const isSuccess = view.getUint16(CONTROL.value, true) === 1;
    const event = view.getUint16(CONTROL.event, true);
    if (event === EVENT.DEVICE_READY) return this.#driverReady(isSuccess);
    const slot = this.#slots[view.getUint32(CONTROL.id, true)];
    if (slot?.port === undefined) return;
    if (event === EVENT.PORT_READY) this.#portReady(slot, slot.port, isSuccess);
    // Else it is about the port that was here before.
    else if (event === EVENT.PORT_OPEN && slot.isReady) slot.port.driverOpened(isSuccess);
  }

  #driverReady(isSuccess: boolean): void {
    if (!isSuccess) this.#log('the driver could not set up its ports');
    this.#isDriverReady = isSuccess;
    for (const slot of this.#slots)
      if (isSuccess && slot.port !== undefined && !slot.isAdded) slot.owe(EVENT.DEVICE_ADD);
  }

  /** A driver that comes back from sleep says this of each port that it had, and no DEVICE_READY. */
  #portReady(slot: Slot, port: ControlledPort, isSuccess: boolean): void {
    if (!isSuccess) return this.#log(`the driver could not set up the port ${port.name ?? 'without a name'}`);
    // While the removal of the port before is due, this is about that one.
    if (slot.isReady || slot.isDue(EVENT.DEVICE_REMOVE)) return;
    this.#isDriverReady = true;
    slot.isAdded = slot.isReady = true;
    slot.due = 0;
    if (port.isConsole) slot.owe(EVENT.CONSOLE_PORT);
    if (port.name !== undefined) slot.owe(EVENT.PORT_NAME);
    if (port.isConsole && port.size !== undefined) slot.owe(EVENT.RESIZE);
    if (port.isOpen) slot.owe(EVENT.PORT_OPEN);
  }

  /** Returns the next message for the driver; it stays due until `sent`. */
  next(): Uint8Array | undefined {
    this.#sending = undefined;
    if (!this.#isDriverReady) return undefined;
    for (const [id, slot] of this.#slots.entries()) {
      const message = slot.due === 0 ? undefined : ORDER.find((one) => slot.isDue(one));
      if (message === undefined) continue;
      this.#sending = { slot, message };
      return encode(id, message, slot.port);
    }
    return undefined;
  }

  /** The message that `next` returned was sent. */
  sent(): void {
    if (this.#sending === undefined) return;
    const { slot, message } = this.#sending;
    slot.settle(message);
    if (message === EVENT.DEVICE_ADD) slot.isAdded = true;
    if (message === EVENT.DEVICE_REMOVE) slot.isAdded = false;
    this.#sending = undefined;
  }
}

function encode(id: number, message: Message, port: ControlledPort | undefined): Uint8Array {
  const payload = payloadOf(message, port);
  const bytes = new Uint8Array(CONTROL_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(CONTROL.id, id, true);
  view.setUint16(CONTROL.event, message, true);
  const isSet = message === EVENT.PORT_OPEN ? port?.isOpen : message === EVENT.CONSOLE_PORT;
  view.setUint16(CONTROL.value, isSet ? 1 : 0, true);
  bytes.set(payload, CONTROL_BYTES);
  return bytes;
}

function payloadOf(message: Message, port: ControlledPort | undefined): Uint8Array {
  if (message === EVENT.PORT_NAME) return new TextEncoder().encode(port?.name);
  if (message !== EVENT.RESIZE) return new Uint8Array();
  const { cols = 0, rows = 0 } = port?.size ?? {};
  const bytes = new Uint8Array(4);
  // In the order of §5.3.6.2. Linux read rows first until 2025 (see README.md).
  new DataView(bytes.buffer).setUint16(0, cols, true);
  new DataView(bytes.buffer).setUint16(2, rows, true);
  return bytes;
}
