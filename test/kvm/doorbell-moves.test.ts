// test/kvm: a queue moves from host to host while a guest kicks on the real kernel, and no request is lost.
import assert from 'node:assert/strict';
import { VcpuThread } from '../../src/kvm/vcpu-thread.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { QueueRegisters } from '../../src/transports/bus/queue-registers.ts';
import type { QueueHost, QueueSetup, QueueStop } from '../../src/transports/queue/queue-host.ts';
import { VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { DOORBELL } from './interrupt-guest.ts';
import { kvmTest } from './kvm-case.ts';
import { DONE_PORT } from './run-guest.ts';

const MADE = 0x3000;

/** Serves all there is when it starts, and whenever its eventfd is rung. */
class Host implements QueueHost {
  readonly #loop: EventLoop;
  readonly #serve: () => void;
  #watch: Disposable | undefined;

  constructor(loop: EventLoop, serve: () => void) {
    this.#loop = loop;
    this.#serve = serve;
  }

  async start(_index: number, { kickFd = -1 }: QueueSetup): Promise<void> {
    const kick = EventFd.borrow(kickFd);
    const readable = (): void => {
      if (kick.clear()) this.#serve();
    };
    this.#watch = this.#loop.watch(kickFd, { readable });
    this.#serve();
  }

  async stop(): Promise<QueueStop> {
    this.#watch?.[Symbol.dispose]();
    return { base: 0, broken: false };
  }

  async setMemory(): Promise<void> {}
  async setCall(): Promise<void> {}
}

kvmTest('a doorbell that moves to another host while the guest rings loses no request', async (kvm, t) => {
  const rings = 60_000;
  const payload = new Payload().label('again').incrementMemory(MADE).set('edx', DOORBELL.address).out(1);
  payload.decrement('ecx').jumpIfNotZero('again').set('edx', DONE_PORT).out(1);
  using guest = new PayloadGuest(kvm, payload);
  using loop = new EventLoop();
  using trap = EventFd.create();
  using errors = EventFd.create();
  let served = 0;
  const runs = { one: 0, other: 0, trapped: 0 };
  const hosts = (['one', 'other'] as const).map(
    (name) =>
      new Host(loop, () => {
        runs[name]++;
        served = Atomics.load(guest.words, MADE / 4);
      }),
  );
  const lines = {
    assignDoorbell: (_queue: number, eventFd: EventFd) => guest.vm.ioeventfds.assign(DOORBELL, eventFd),
    call: () => undefined,
    log: assert.fail,
  };
  const queue = new QueueRegisters({ index: 0, sizeMax: 256, loop, lines, errFd: errors.fd });
  loop.watch(trap.fd, {
    readable: () => {
      trap.clear();
      runs.trapped++;
      queue.kick();
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
  while (!isOver) {
    if (random.flip()) await queue.stop();
    else await queue.start(VIRTIO_F_VERSION_1, random.of(hosts));
    for (let turn = 0; turn < 3; turn++) loop.turn(1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const exits = await ended;
  await queue.start(VIRTIO_F_VERSION_1, hosts[0] as Host);
  for (let turn = 0; turn < 3; turn++) loop.turn(0);
  assert.equal(served, rings);
  await queue.stop();
  t.diagnostic(`served on ${JSON.stringify(runs)}, ${exits} rings left the guest`);
});
