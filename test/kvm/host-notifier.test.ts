// The host notifier against the real kernel: its doorbell changes hands while a guest rings it, and no request is left behind.
import assert from 'node:assert/strict';
import type { IoEventFd } from '../../src/kvm/ioeventfd.ts';
import { VcpuThread } from '../../src/kvm/vcpu-thread.ts';
import type { Vm } from '../../src/kvm/vm.ts';
import { type Grab, HostNotifier, type NotifierPort, type Registration } from '../../src/notify/host-notifier.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { DOORBELL } from './interrupt-guest.ts';
import { kvmTest } from './kvm-case.ts';
import { DONE_PORT } from './run-guest.ts';

const MADE = 0x3000;

/** One side of the doorbell: an eventfd, watched by `serve` while it is attached. */
class Side implements Registration {
  readonly #vm: Vm;
  readonly #loop: EventLoop;
  readonly #serve: () => void;
  #bell: EventFd | undefined;
  #registration: IoEventFd | undefined;
  #watch: Disposable | undefined;

  constructor(vm: Vm, loop: EventLoop, serve: () => void) {
    this.#vm = vm;
    this.#loop = loop;
    this.#serve = serve;
  }

  open(): void {
    this.#bell = EventFd.create();
  }

  register(): string | undefined {
    this.#registration = this.#vm.ioeventfds.assign(DOORBELL, this.#bell as EventFd);
    return undefined;
  }

  unregister(): string | undefined {
    this.#registration?.[Symbol.dispose]();
    return undefined;
  }

  attach(): void {
    this.#watch = this.#loop.watch((this.#bell as EventFd).fd, { readable: () => this.drain() });
  }

  detach(): void {
    this.#watch?.[Symbol.dispose]();
  }

  drain(): void {
    if (this.#bell?.clear()) this.#serve();
  }

  ring(): void {
    this.#bell?.signal();
  }

  close(): void {
    this.#watch?.[Symbol.dispose]();
    this.#bell?.[Symbol.dispose]();
  }

  keep(): void {
    throw new Error('the kernel does not give it back');
  }
}

kvmTest('a doorbell that changes hands while the guest rings loses no request', async (kvm, t) => {
  const rings = 60_000;
  const payload = new Payload().label('again').incrementMemory(MADE).set('edx', DOORBELL.address).out(1);
  payload.decrement('ecx').jumpIfNotZero('again').set('edx', DONE_PORT).out(1);
  using guest = new PayloadGuest(kvm, payload);
  using loop = new EventLoop();
  using trap = EventFd.create();
  let served = 0;
  const runs = { ours: 0, theirs: 0, trapped: 0 };
  const serve = (who: keyof typeof runs) => (): void => {
    runs[who]++;
    served = Atomics.load(guest.words, MADE / 4);
  };
  const ours = new Side(guest.vm, loop, serve('ours'));
  const notifier = new HostNotifier(Object.assign(ours, { clear() {}, say: assert.fail }) satisfies NotifierPort);
  loop.watch(trap.fd, {
    readable: () => {
      trap.clear();
      runs.trapped++;
      notifier.kick();
    },
  });
  guest.start({ rcx: BigInt(rings) });
  const program = new URL('./trap-program.ts', import.meta.url);
  const thread = await VcpuThread.start(guest.vcpu, { program, data: { trapFd: trap.fd } });
  let isOver = false;
  const ended = thread.ended.finally(() => {
    isOver = true;
  });

  const random = new SeededRandom(1);
  let grab: Grab | undefined;
  while (!isOver) {
    const event = random.below(4);
    if (event === 0) notifier.start();
    else if (event === 1) notifier.stop();
    else if (grab === undefined) {
      grab = notifier.grab();
      const theirs = new Side(guest.vm, loop, serve('theirs'));
      theirs.open();
      theirs.attach();
      grab.lend(theirs);
    } else {
      grab[Symbol.dispose]();
      grab = undefined;
    }
    for (let turn = 0; turn < 3; turn++) loop.turn(1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const exits = await ended;
  grab?.[Symbol.dispose]();
  notifier.start();
  for (let turn = 0; turn < 3; turn++) loop.turn(0);
  assert.equal(served, rings);
  notifier.stop();
  t.diagnostic(`served on ${JSON.stringify(runs)}, ${exits} rings left the guest`);
});
