// Code outside src imports it as a user does: by its front doors, by daemon, or by what is listed here with the reason.
import { posix } from 'node:path';
import { importsOf, isCode, isTest, type Rule } from './source-file.ts';

const DOORS = ['src/index.ts', 'src/kvm/index.ts', 'src/testing/index.ts', 'src/daemon/'];

interface Passage {
  /** Files whose paths begin so. */
  readonly from: string;
  readonly to: readonly string[];
  readonly why: string;
}

/** A ratchet: passages are only taken away, or given a door. */
const PASSAGES: readonly Passage[] = [
  {
    from: 'bench/',
    to: ['src/virtio/spec.ts', 'src/virtio/split/split-format.ts', 'src/devices/blk/spec.ts'],
    why: 'it lays out rings and requests by hand: each byte of a driver is measured',
  },
  {
    from: 'bench/',
    to: [
      ...['cpu', 'epoll', 'event-fd', 'event-loop', 'libc', 'mapping', 'memfd', 'pollable', 'signal-wait', 'thread'],
      ...['thread-signal', 'timer-fd'],
    ].map((name) => `src/sys/${name}.ts`),
    why: 'its threads wait, ring and are pinned by the same calls as the product',
  },
  {
    from: 'bench/threads/',
    to: [
      'src/transports/queue/running-queue.ts',
      ...['guest-memory', 'in-flight-limit', 'queue-counters', 'ring-format'].map((name) => `src/virtio/${name}.ts`),
    ],
    why: 'it runs one queue of the product without a session',
  },
  {
    from: 'bench/stress/',
    to: [
      ...['queue-report', 'running-queue'].map((name) => `src/transports/queue/${name}.ts`),
      ...['guest-memory', 'in-flight-limit', 'queue-counters', 'ring-format'].map((name) => `src/virtio/${name}.ts`),
      ...['split-queue', 'split-ring'].map((name) => `src/virtio/split/${name}.ts`),
    ],
    why: 'it stops inside the queue of the product, between one load and the next',
  },
  {
    from: 'bench/handoff/',
    to: [
      ...['descriptor-chain', 'guest-memory', 'ring-format'].map((name) => `src/virtio/${name}.ts`),
      ...['split-notification', 'split-ring'].map((name) => `src/virtio/split/${name}.ts`),
    ],
    why: 'it builds designs that the product does not have, of the parts of its ring',
  },
  {
    from: 'bench/load/load-generator.ts',
    to: ['src/transports/vhost-user/front-end/blocking.ts'],
    why: 'the front end of a load that nothing else on its thread may disturb',
  },
  {
    from: 'bench/doorbell/',
    to: ['interrupt-payload', 'payload', 'payload-guest'].map((name) => `src/testing/${name}.ts`),
    why: 'guests of a few instructions, which users have no use for',
  },
  {
    from: 'demo/',
    to: ['src/sys/thread.ts', 'src/sys/unix-socket.ts', 'src/virtio/log.ts'],
    why: 'it starts the daemon of `belfry serve` as that does: a thread, a socket, a log',
  },
  { from: 'doctor/', to: ['src/sys/libc.ts'], why: 'it asks the C library directly' },
];

function isOpen(path: string, target: string): boolean {
  if (!target.startsWith('src/') || DOORS.some((door) => target.startsWith(door))) return true;
  return PASSAGES.some(({ from, to }) => path.startsWith(from) && to.includes(target));
}

export const frontDoors: Rule = {
  name: 'what stands beside src enters by its doors, or by what is listed with the reason',
  appliesTo: (path) => /^(?:bench|guests|demo|doctor)\//.test(path) && isCode(path) && !isTest(path),
  findings({ path, text }) {
    const relative = importsOf(text).filter(({ specifier }) => specifier.startsWith('.'));
    const targets = relative.map(({ specifier }) => posix.join(posix.dirname(path), specifier));
    return targets.filter((target) => !isOpen(path, target)).map((target) => `enters by ${target}`);
  },
  bad: [
    { path: 'bench/blk.ts', text: "import { openStore } from '../src/stores/open-store.ts';" },
    { path: 'bench/notify/a.ts', text: "import type { Kvm } from '../../src/kvm/kvm.ts';" },
    { path: 'demo/a.ts', text: "const x = await import('../src/virtio/split/split-ring.ts');" },
    { path: 'guests/a.ts', text: "export { x } from '../src/sys/cpu.ts';" },
  ],
  good: [
    { path: 'bench/blk.ts', text: "import { openStore } from '../src/index.ts';\nimport { x } from './x.ts';" },
    { path: 'doctor/a.ts', text: "import { y } from '../src/daemon/poll-mode.ts';\nimport fs from 'node:fs';" },
    { path: 'bench/load/a.ts', text: "import { Epoll } from '../../src/sys/epoll.ts';" },
  ],
};

/** Passages that no file takes any more. */
export function unusedPassages(files: readonly { readonly path: string; readonly text: string }[]): string[] {
  const used = new Set<string>();
  for (const { path, text } of files.filter((file) => frontDoors.appliesTo(file.path)))
    for (const { specifier } of importsOf(text)) {
      const target = posix.join(posix.dirname(path), specifier);
      for (const { from, to } of PASSAGES)
        if (path.startsWith(from) && to.includes(target)) used.add(`${from} ${target}`);
    }
  const listed = PASSAGES.flatMap(({ from, to }) => to.map((target) => `${from} ${target}`));
  return listed.filter((passage) => !used.has(passage));
}
