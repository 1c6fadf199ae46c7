// bench/doorbell: the paths by which a guest notifies the host, and the figures of 2009 for them.
import type { Doorbell, EventFd, IoEventFds } from '../../src/kvm/index.ts';
import { Payload } from '../../src/testing/payload.ts';

/** Ports that the guest writes to report its progress; the handler does nothing else for them. */
export const PORTS = { start: 0xf0, done: 0xf4, ring: 0xe0 } as const;
/** An address where the guest has no memory, not at the start of a page. */
const MMIO = 0xd000_0800;
/** What the guest writes. */
const VALUE = 1;

/** A figure of "[KVM PATCH v4 3/3] kvm: add iosignalfd support", May 2009. */
export interface OldFigure {
  readonly perSecond: number;
  readonly us: number;
  /** Calculated from other figures there, not measured. */
  readonly extrapolated: boolean;
}

export interface RingPath {
  readonly key: string;
  readonly name: string;
  readonly bus: 'mmio' | 'pio' | 'none';
  /** A ring exits to user space, which writes the eventfd. */
  readonly exits: boolean;
  readonly doorbells: readonly Doorbell[];
  readonly in2009?: OldFigure;
}

const mmio = { bus: 'mmio', address: MMIO, lengthBytes: 4 } as const;
const pio = { bus: 'pio', address: PORTS.ring, lengthBytes: 4 } as const;

/** `count` doorbells that are never rung, at other addresses of the same bus. */
function strangers(count: number): Doorbell[] {
  return Array.from({ length: count }, (_, i) => ({ ...mmio, address: MMIO - 0x1000 * (i + 1) }));
}

/** The loop without a ring: what it costs is subtracted from all others. */
export const EMPTY_LOOP: RingPath = { key: 'loop', name: 'the loop alone', bus: 'none', exits: false, doorbells: [] };

export const RING_PATHS: readonly RingPath[] = [
  {
    key: 'exit-mmio',
    name: 'exit to user space, MMIO',
    bus: 'mmio',
    exits: true,
    doorbells: [],
    in2009: { perSecond: 110_000, us: 9.09, extrapolated: false },
  },
  {
    key: 'exit-pio',
    name: 'exit to user space, PIO',
    bus: 'pio',
    exits: true,
    doorbells: [],
    in2009: { perSecond: 153_139, us: 6.53, extrapolated: true },
  },
  {
    key: 'ioeventfd-mmio',
    name: 'ioeventfd, MMIO of 4 bytes',
    bus: 'mmio',
    exits: false,
    doorbells: [mmio],
    in2009: { perSecond: 200_100, us: 5, extrapolated: false },
  },
  {
    key: 'ioeventfd-mmio-value',
    name: 'ioeventfd, MMIO, datamatch',
    bus: 'mmio',
    exits: false,
    doorbells: [{ ...mmio, value: VALUE }],
  },
  {
    key: 'ioeventfd-mmio-any',
    name: 'ioeventfd, MMIO of any length',
    bus: 'mmio',
    exits: false,
    doorbells: [{ ...mmio, lengthBytes: 0 }],
  },
  {
    key: 'ioeventfd-pio',
    name: 'ioeventfd, PIO',
    bus: 'pio',
    exits: false,
    doorbells: [pio],
    in2009: { perSecond: 367_300, us: 2.72, extrapolated: false },
  },
  {
    key: 'datamatch-miss',
    name: 'datamatch miss, then exit, MMIO',
    bus: 'mmio',
    exits: true,
    doorbells: [{ ...mmio, value: VALUE + 1 }],
  },
  {
    key: 'among-200',
    name: 'ioeventfd, MMIO, 1 of 200',
    bus: 'mmio',
    exits: false,
    doorbells: [mmio, ...strangers(199)],
  },
  {
    key: 'among-1000',
    name: 'ioeventfd, MMIO, 1 of 1000',
    bus: 'mmio',
    exits: false,
    doorbells: [mmio, ...strangers(999)],
  },
];

/** A guest that writes to port `start`, rings ecx times, writes to port `done`, and halts. */
export function ringPayload({ bus }: RingPath): Payload {
  const payload = new Payload().set('edx', PORTS.start).out(1).set('edx', PORTS.ring).set('eax', VALUE).label('again');
  if (bus === 'mmio') payload.store(MMIO, 'eax');
  if (bus === 'pio') payload.out(4);
  payload.decrement('ecx').jumpIfNotZero('again').set('edx', PORTS.done).out(1);
  return payload.label('sleep').cli().hlt().jump('sleep');
}

/** Registers the path's doorbells; `bell` is signalled only where the guest's writes match. */
export function registerDoorbells({ doorbells }: RingPath, ioeventfds: IoEventFds, bell: EventFd): void {
  for (const doorbell of doorbells) ioeventfds.assign(doorbell, bell);
}
