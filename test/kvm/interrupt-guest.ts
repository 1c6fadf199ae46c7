// test/kvm: a guest that counts its interrupts, and enables them only when the test asks for it.
import assert from 'node:assert/strict';
import type { Irqchip } from '../../src/kvm/irqchip.ts';
import type { Kvm } from '../../src/kvm/kvm.ts';
import type { Vm } from '../../src/kvm/vm.ts';
import {
  addHandlers,
  COUNTS,
  enableLocalApic,
  installHandlers,
  setUpInterrupts,
} from '../../src/testing/interrupt-payload.ts';
import { eventually } from '../../src/testing/patience.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { kernelTurn } from './kernel-turn.ts';
import { DONE_PORT, exitsOf } from './run-guest.ts';

export const DOORBELL = { bus: 'pio', address: 0xe0, lengthBytes: 1 } as const;

/** The exit within the window. */
const BREATH = `out 0x${DONE_PORT.toString(16)}`;

export class InterruptGuest implements Disposable {
  readonly vm: Vm;
  readonly irqchip: Irqchip;
  readonly #guest: PayloadGuest;

  constructor(kvm: Kvm) {
    const payload = new Payload().label('set-up');
    setUpInterrupts(payload);
    payload.out(1);
    // Interrupts are let in across an exit: a KVM that emulates looks for them when it enters the guest, not after each instruction.
    payload.label('window').sti().out(2).nop().cli().out(1);
    payload.label('ring').set('edx', DOORBELL.address).out(1).set('edx', DONE_PORT).jump('window');
    addHandlers(payload);
    this.#guest = new PayloadGuest(kvm, payload, { irqchip: true });
    this.vm = this.#guest.vm;
    this.irqchip = this.#guest.irqchip as Irqchip;
    installHandlers(this.#guest);
    this.run('set-up');
  }

  enableApic(on: boolean): void {
    enableLocalApic(this.#guest, on);
  }

  /** Runs from a label to the end of its piece; whatever left the guest on the way is an error. */
  run(label: 'set-up' | 'window' | 'ring'): void {
    this.#guest.start({ rdx: BigInt(DONE_PORT) }, label);
    const exits = exitsOf(this.#guest).filter((exit) => !exit.startsWith(BREATH));
    if (exits.length > 0) throw new Error(`the guest left: ${exits.join(', ')}`);
  }

  /** How often each handler has run: of the 8259's line, of MESSAGE, of OTHER_MESSAGE. */
  get handled(): readonly number[] {
    return [...this.#guest.words.subarray(COUNTS.line / 4, COUNTS.line / 4 + 3)];
  }

  /** Lets interrupts in until the handlers have run so often. KVM raises lines from a worker of its own, so they may be late. */
  async expect(line: number, message = 0, otherMessage = 0): Promise<void> {
    const expected = `${[line, message, otherMessage]}`;
    const handled = (): string => {
      this.run('window');
      return `${this.handled}`;
    };
    await eventually(`${expected} interrupts`, () => handled() === expected);
    for (let i = 0; i < 3; i++) {
      kernelTurn(this.vm);
      assert.equal(handled(), expected, 'no more than that');
    }
  }

  [Symbol.dispose](): void {
    this.#guest[Symbol.dispose]();
  }
}
