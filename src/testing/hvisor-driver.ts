// testing: a device on the bridge of the stand-in for hvisor, and its driver in a zone.
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import { Bridge } from '../transports/hvisor/bridge.ts';
import { VirtioHvisor } from '../transports/hvisor/virtio-hvisor.ts';
import { mapZoneMemory } from '../transports/hvisor/zone-memory.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { HvisorStandIn, ZONE0_IPA } from './hvisor-stand-in.ts';
import type { RawGuest } from './raw-guest.ts';
import { ZoneDriver } from './zone-driver.ts';

const PLACE = { zone: 1, cpu: 3, address: 0xa00_3c00, irq: 78 } as const;
const WINDOW_BYTES = 0x200;

/** Drives a device in a zone of the stand-in, on this thread. */
export class HvisorDriver extends ZoneDriver {
  readonly bridge: Bridge;
  readonly transport: VirtioHvisor;
  readonly #resources = new DisposableStack();

  constructor(device: VirtioDevice, guest: RawGuest) {
    super({ standIn: new HvisorStandIn(guest.fd), loop: new EventLoop(), lines: [], ...PLACE });
    const log = (line: string): void => void this.lines.push(line);
    this.#resources.use(this.standIn);
    this.#resources.use(this.loop);
    this.#resources.use(rideNodeLoop(this.loop));
    const port = this.#resources.use(this.standIn.open());
    this.bridge = this.#resources.use(new Bridge(port, this.loop, log));
    const { guestAddress, sizeBytes, mmapOffset } = guest.region;
    const region = { zone0Ipa: ZONE0_IPA + mmapOffset, zonexIpa: guestAddress, sizeBytes };
    const host = new LocalHost(device, this.loop, { log, guest: mapZoneMemory(port, [region]) });
    this.transport = new VirtioHvisor(this.bridge, { host, log, ...PLACE, sizeBytes: WINDOW_BYTES });
    this.bridge.start();
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.transport.close();
    this.#resources.dispose();
  }
}
