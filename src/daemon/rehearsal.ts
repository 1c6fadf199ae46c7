// daemon: a rehearsal: before the first front end, a serving thread serves one of its own, so that the code that front ends
// and requests take is loaded and compiled.
import { createHistogram } from 'node:perf_hooks';
import { MessageChannel } from 'node:worker_threads';
import { Limits } from '../stores/filters/limits.ts';
import { openStore } from '../stores/open-store.ts';
import { EventFd } from '../sys/event-fd.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import { closeFd } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import { createMemfd } from '../sys/memfd.ts';
import { UnixSocket } from '../sys/unix-socket.ts';
import { type Clients, VhostUserServer } from '../transports/vhost-user/back-end/server.ts';
import { Link } from '../transports/vhost-user/front-end/link.ts';
import { FrontEndRequests } from '../transports/vhost-user/front-end/requests.ts';
import * as vu from '../transports/vhost-user/protocol/spec.ts';
import { RING_FEATURES } from '../virtio/negotiated-format.ts';
import { type DeviceSource, unshared } from './device-source.ts';
import { pollPolicy } from './poll-mode.ts';
import { REHEARSED_BYTES, REHEARSED_DEPTH, REHEARSED_SIZE, RehearsalDriver } from './rehearsal-driver.ts';
import { isOver, type RehearsalPlan } from './rehearsal-plan.ts';
import { ServingThread } from './serving-thread.ts';

/** In place of the image. */
const STORE = 'mem:1M';
const GUEST_ADDRESS = 0x4000_0000;
/** A rehearsal that takes longer is given up: something is wrong. */
const LIMIT_MS = 60_000;
/** How often that is checked, and how soon it has to end when its thread is needed. */
const LOOK_MS = 500;
/** How long the loop polls, so that this is rehearsed too. */
const POLL_US = 5;
const PROTOCOL_FEATURES =
  vu.PROTOCOL_F_MQ |
  vu.PROTOCOL_F_REPLY_ACK |
  vu.PROTOCOL_F_BACKEND_REQ |
  vu.PROTOCOL_F_CONFIG |
  vu.PROTOCOL_F_INFLIGHT_SHMFD |
  vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS;

/** Resolves to the number of requests that were served. Rejects with what went wrong; the device can be opened nevertheless. */
export async function rehearse(plan: RehearsalPlan): Promise<number> {
  // What a machine costs to wake is measured once.
  pollPolicy('auto');
  let rehearsed = 0;
  const opened = openStore(STORE, { engine: plan.engine, readOnly: plan.readOnly });
  try {
    const limits = plan.isLimited ? new Limits({}).memory : undefined;
    const source = { kind: 'blk', store: opened.description, options: plan.options, limits } as const;
    for (let i = 0; i < plan.sessions && !isOver(plan); i++)
      rehearsed += await served(plan.isShared ? source : unshared(source), plan);
  } finally {
    await opened.store.close?.();
  }
  return rehearsed;
}

/** Serves a front end that is on the same loop, as the device thread does. */
async function served(device: DeviceSource, plan: RehearsalPlan): Promise<number> {
  using wake = EventFd.create();
  using clients = new OneClient();
  const { port1, port2 } = new MessageChannel();
  const main = { port: port1, wakeFd: wake.fd };
  const setup = { device, poll: POLL_US, cpu: undefined, latency: createHistogram(), main };
  const thread = await ServingThread.open(setup);
  const { host, loop, log } = thread;
  new VhostUserServer(clients, host, loop, { log, once: true, onClosed: () => void thread.finish() });
  const hang = Promise.withResolvers<never>();
  using _watch = watchForHang(loop, plan, hang.reject);
  const done = Promise.race([asFrontEnd(clients.frontEnd, loop, plan), hang.promise]);
  done.catch(() => loop.stop());
  await thread.run();
  port2.close();
  return done;
}

/** Until disposed: gives a rehearsal up that takes too long, or that does not end while its thread is needed. */
function watchForHang(loop: EventLoop, plan: RehearsalPlan, giveUp: (why: Error) => void): Disposable {
  const startedMs = performance.now();
  let timer: Disposable;
  const look = (): void => {
    const wasOver = isOver(plan);
    timer = loop.timer(LOOK_MS, () => {
      if (wasOver || performance.now() - startedMs > LIMIT_MS) giveUp(new Error('the rehearsal did not end'));
      else look();
    });
  };
  look();
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
}

/** As a VMM: negotiates, shares memory, starts a queue, sends requests, stops the queue and leaves. */
async function asFrontEnd(socket: UnixSocket, loop: EventLoop, plan: RehearsalPlan): Promise<number> {
  using link = new Link(socket, loop, { log: () => {}, onClosed: () => {} });
  using held = new DisposableStack();
  const requests = new FrontEndRequests(link, PROTOCOL_FEATURES);
  await requests.negotiate();
  const [ours, theirs] = UnixSocket.pair();
  held.use(ours);
  await requests.giveBackEndSocket(theirs.fd);
  theirs[Symbol.dispose]();
  await requests.readConfig(0, 8);
  const fd = createMemfd('belfry-rehearsal', REHEARSED_BYTES);
  held.defer(() => closeFd(fd));
  const memory = held.use(Mapping.ofFile(fd, REHEARSED_BYTES));
  await requests.shareMemory([{ guestAddress: GUEST_ADDRESS, sizeBytes: REHEARSED_BYTES, fd }]);
  await requests.setFeatures(requests.offeredFeatures);
  const inflight = await requests.getInflight(1, REHEARSED_SIZE);
  held.defer(() => closeFd(inflight.fd));
  await requests.setInflight(inflight);
  const driver = new RehearsalDriver(memory.bytes, GUEST_ADDRESS, plan.readOnly);
  const [kick, call] = [held.use(EventFd.create()), held.use(EventFd.create())];
  const setup = { ...driver.areas, size: REHEARSED_SIZE, features: RING_FEATURES, kickFd: kick.fd, callFd: call.fd };
  await requests.startQueue(0, setup);
  const rehearsed = await drive(driver, loop, { kick, call }, plan);
  await requests.stopQueue(0);
  return rehearsed;
}

/** Sends the requests, round by round. */
async function drive(
  driver: RehearsalDriver,
  loop: EventLoop,
  { kick, call }: { readonly kick: EventFd; readonly call: EventFd },
  plan: RehearsalPlan,
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let round = 0;
  const go = (): void => {
    if (!driver.isIdle) return;
    if (driver.failures > 0) return reject(new Error(`${driver.failures} requests of a rehearsal failed`));
    if (round * REHEARSED_DEPTH >= plan.requests || isOver(plan)) return resolve();
    driver.place(round++);
    kick.signal();
  };
  const watch = loop.watch(call.fd, { readable: () => call.clear() && go() });
  go();
  try {
    await promise;
  } finally {
    watch[Symbol.dispose]();
  }
  return round * REHEARSED_DEPTH;
}

/** In place of a listening socket: one client is there at once. */
class OneClient implements Clients {
  readonly frontEnd: UnixSocket;
  readonly address = new Uint8Array();
  readonly #waiting = EventFd.create();
  #isOpen = true;
  #client: UnixSocket | undefined;

  constructor() {
    const [frontEnd, client] = UnixSocket.pair();
    this.frontEnd = frontEnd;
    this.#client = client;
    this.#waiting.signal();
  }

  get fd(): number {
    return this.#waiting.fd;
  }

  accept(): UnixSocket | undefined {
    const client = this.#client;
    this.#client = undefined;
    this.#waiting.clear();
    return client;
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#client?.[Symbol.dispose]();
    this.#waiting[Symbol.dispose]();
  }
}
