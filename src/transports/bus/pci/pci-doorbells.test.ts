// The doorbells of a function while its BAR moves, with a kernel that does not remove each ioeventfd.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { EventFd } from '../../../sys/event-fd.ts';
import { PciDoorbells } from './pci-doorbells.ts';
import { NOTIFY_MULTIPLIER } from './spec.ts';

const PLACES = [0x1000, 0x2000, 0x3000] as const;

/** A kernel with ioeventfds by address; it does not remove those at the addresses in `kept`. */
class Kernel {
  readonly ringing = new Map<number, EventFd>();
  readonly kept = new Set<number>();

  assign = ({ address }: { readonly address: number }, eventFd: EventFd): Disposable => {
    if (this.ringing.has(address)) throw new Error('EEXIST');
    this.ringing.set(address, eventFd);
    return {
      [Symbol.dispose]: () => {
        if (this.kept.has(address)) throw new Error('ENOMEM');
        this.ringing.delete(address);
      },
    };
  };
}

function newDoorbells(t: TestContext) {
  const kernel = new Kernel();
  const lines: string[] = [];
  const doorbells = new PciDoorbells(kernel, (line) => lines.push(line));
  const eventFds = [EventFd.create(), EventFd.create()] as const;
  t.after(() => {
    for (const eventFd of eventFds) eventFd[Symbol.dispose]();
  });
  return { kernel, lines, doorbells, eventFds };
}

test('doorbells are where the BAR is, and nowhere while it is not mapped', (t) => {
  const { kernel, lines, doorbells, eventFds } = newDoorbells(t);
  doorbells.assign(0, eventFds[0]);
  assert.equal(kernel.ringing.size, 0);
  doorbells.moveTo(PLACES[0]);
  const second = doorbells.assign(1, eventFds[1]);
  assert.deepEqual([...kernel.ringing.keys()], [PLACES[0], PLACES[0] + NOTIFY_MULTIPLIER]);
  second[Symbol.dispose]();
  doorbells.moveTo(PLACES[1]);
  assert.deepEqual([...kernel.ringing.keys()], [PLACES[1]]);
  doorbells.moveTo(undefined);
  assert.deepEqual([kernel.ringing.size, lines], [0, []]);
});

test('regression: a doorbell that the kernel does not remove when the BAR moves is logged, and the others move', (t) => {
  const { kernel, lines, doorbells, eventFds } = newDoorbells(t);
  doorbells.moveTo(PLACES[0]);
  for (const [queue, eventFd] of eventFds.entries()) doorbells.assign(queue, eventFd);
  kernel.kept.add(PLACES[0]);
  doorbells.moveTo(PLACES[1]);
  for (const [queue, eventFd] of eventFds.entries())
    assert.equal(kernel.ringing.get(PLACES[1] + queue * NOTIFY_MULTIPLIER), eventFd);
  assert.deepEqual(lines, ['the kernel goes on ringing a doorbell at its old address: ENOMEM']);
});

test('regression: a doorbell that was closed and not removed does not move with the BAR', (t) => {
  const { kernel, lines, doorbells, eventFds } = newDoorbells(t);
  doorbells.moveTo(PLACES[0]);
  kernel.kept.add(PLACES[0]);
  assert.throws(() => doorbells.assign(0, eventFds[0])[Symbol.dispose](), /ENOMEM/);
  kernel.kept.clear();
  assert.throws(() => doorbells.assign(0, eventFds[1]), /EEXIST/, 'the old one is in the way, here');
  doorbells.moveTo(PLACES[1]);
  doorbells.assign(0, eventFds[1]);
  assert.equal(kernel.ringing.get(PLACES[1]), eventFds[1]);
  assert.deepEqual(lines, []);
});
