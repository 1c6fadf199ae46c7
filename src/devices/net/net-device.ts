// virtio-net, §5.1, with one pair of queues: the device: its queues, its link, and its address.
import type { DeviceConfig, DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { VIRTIO_ID_NET } from '../../virtio/spec.ts';
import { FrameFilter } from './frame-filter.ts';
import { frameLimit } from './frame-limit.ts';
import { configOf, featuresOf, macOf, type NetDeviceOptions, OFFLOADS } from './net-config.ts';
import { type ControlTarget, control } from './net-control.ts';
import { droppedFrames, type NetCounters, newNetCounters } from './net-counters.ts';
import type { NetPort } from './net-port.ts';
import { NetReceive } from './net-receive.ts';
import { NetTransmit } from './net-transmit.ts';
import * as spec from './spec.ts';

/** Linux fills the receive queue. A vhost-user front end asks no back end how large a queue may be: all are the same. */
const QUEUE_SIZE = 1024;

/**
 * The guest's eth0, connected to a port. Frames go straight from one ring to the port and from the port into the other:
 * each is copied once. For those that the guest has no buffer for see `NetPort.onFrame`.
 *
 * @example Two guests on one switch:
 * const lan = new NetSwitch();
 * serve(new NetDevice({ port: lan.port() }), { vhostUser: '/tmp/net0.sock' });
 * serve(new NetDevice({ port: lan.port() }), { vhostUser: '/tmp/net1.sock' });
 */
export class NetDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_NET;
  readonly features: bigint;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE];
  readonly config: DeviceConfig;
  /** What it has moved and dropped so far. */
  readonly counters: Readonly<NetCounters>;
  readonly #port: NetPort;
  readonly #mac: Uint8Array;
  readonly #mtu: number | undefined;
  readonly #transmit: NetTransmit;
  readonly #receive: NetReceive;
  #context: DeviceContext | undefined;
  #target: ControlTarget | undefined;

  /** Throws TypeError or RangeError for an invalid option. */
  constructor(options: NetDeviceOptions) {
    const { port, mtu } = options;
    this.features = featuresOf(options);
    this.#port = port;
    this.#mac = macOf(options);
    this.#mtu = mtu;
    this.config = { bytes: configOf(this.#mac, mtu) };
    const counters = newNetCounters();
    this.counters = counters;
    this.#transmit = new NetTransmit(port, counters, (line) => this.#context?.log(line), frameLimit(options.sendLimit));
    this.#receive = new NetReceive(counters, () => port.resume?.(), frameLimit(options.receiveLimit));
  }

  /** The link: up at first. */
  get isLinkUp(): boolean {
    return this.#transmit.isLinkUp;
  }

  /** All frames that it dropped so far. */
  get droppedFrames(): number {
    return droppedFrames(this.counters);
  }

  /** Sets the link up or down and notifies the driver. Frames are dropped while it is down. */
  setLink(isUp: boolean): void {
    if (isUp === this.isLinkUp) return;
    this.#transmit.isLinkUp = this.#receive.isLinkUp = isUp;
    this.#setStatus(spec.VIRTIO_NET_S_LINK_UP, isUp);
    // Whoever is at the other end now has not heard of this guest.
    if (isUp) this.announce();
  }

  /** Asks the driver to announce itself, where it accepted that: its neighbours learn where it is. */
  announce(): void {
    const { features = 0n } = this.#target ?? {};
    if ((features & spec.VIRTIO_NET_F_GUEST_ANNOUNCE) !== 0n) this.#setStatus(spec.VIRTIO_NET_S_ANNOUNCE, true);
  }

  #setStatus(bit: number, isSet: boolean): void {
    const { bytes } = this.config;
    const at = spec.CONFIG.status;
    const before = bytes[at] as number;
    bytes[at] = isSet ? before | bit : before & ~bit;
    const { features = 0n } = this.#target ?? {};
    if (bytes[at] !== before && (features & spec.VIRTIO_NET_F_STATUS) !== 0n) this.#context?.configChanged();
  }

  /** All queues run on one thread: they share the port. */
  threadOf(): number {
    return 0;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
    this.#receive.attach(context);
    this.#transmit.attach(context);
    this.#port.onFrame = (frame, header) => this.#receive.receive(frame, header);
    this.#port.onLink = (isUp) => this.setLink(isUp);
    this.#port.attach?.(context);
  }

  start(features: bigint): void {
    const mtu = (features & spec.VIRTIO_NET_F_MTU) === 0n ? undefined : this.#mtu;
    const filter = new FrameFilter(
      this.config.bytes.subarray(0, spec.MAC_BYTES),
      (features & spec.VIRTIO_NET_F_CTRL_VLAN) !== 0n,
    );
    this.#target = {
      features,
      filter,
      setMac: (mac) => {
        this.config.bytes.set(mac, spec.CONFIG.mac);
        filter.setMac(mac);
      },
      // The driver knows: it is not notified.
      announced: () => {
        const { bytes } = this.config;
        bytes[spec.CONFIG.status] = (bytes[spec.CONFIG.status] as number) & ~spec.VIRTIO_NET_S_ANNOUNCE;
      },
    };
    this.#transmit.started(features, mtu);
    this.#receive.started({ features, mtu, filter });
    this.#port.start?.(features & OFFLOADS);
  }

  queueStarted(index: number, queue: DeviceQueue): void {
    if (index === spec.RECEIVEQ) this.#receive.queueStarted(queue);
  }

  queueStopping(index: number): void {
    if (index === spec.RECEIVEQ) this.#receive.queueStopping();
    else if (index === spec.TRANSMITQ) this.#transmit.queueStopping();
  }

  process(index: number, queue: DeviceQueue): void {
    if (index === spec.RECEIVEQ) this.#receive.deliverWaiting();
    else if (index === spec.TRANSMITQ) this.#transmit.send(queue);
    else if (this.#target !== undefined) control(queue, this.#target);
  }

  /** The address and the filters are those of the start; the link stays as it is. */
  reset(): void {
    this.config.bytes.set(this.#mac, spec.CONFIG.mac);
    const { bytes } = this.config;
    bytes[spec.CONFIG.status] = (bytes[spec.CONFIG.status] as number) & ~spec.VIRTIO_NET_S_ANNOUNCE;
    this.#target = undefined;
    this.#receive.reset();
    this.#port.start?.(0n);
  }

  /** Closes the port. */
  async close(): Promise<void> {
    this.#port.onFrame = this.#port.onLink = undefined;
    await this.#port.close?.();
  }
}
