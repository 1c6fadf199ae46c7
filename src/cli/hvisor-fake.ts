// cli: `belfry hvisor start --fake`: a stand-in for hvisor, and a zone that finds its devices and reads its disks.
import type { ZonesFile } from '../daemon/hvisor/zones-file.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import { closeFd } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import { createMemfd } from '../sys/memfd.ts';
import { BlockDriver } from '../testing/block-driver.ts';
import { blockRequest } from '../testing/block-request.ts';
import { DriverMemory } from '../testing/driver-memory.ts';
import { DriverQueue } from '../testing/driver-queue.ts';
import { HvisorStandIn } from '../testing/hvisor-stand-in.ts';
import { eventually } from '../testing/patience.ts';
import { ZoneDriver } from '../testing/zone-driver.ts';
import type { HvisorPort } from '../transports/hvisor/hvisor-port.ts';
import type { ZoneRegion } from '../transports/hvisor/zone-memory.ts';

const SECTOR = 512;
const QUEUE_SIZE = 16;
/** More than a queue of that size and one request need. */
const DRIVER_BYTES = 1 << 20;
const VIRTIO_ID_BLOCK = 2;

/** A machine without hvisor: its memory is a sparse file, which costs only what is touched. */
export class FakeHvisor implements Disposable {
  readonly #file: ZonesFile;
  readonly #memoryFd: number;
  readonly #standIn: HvisorStandIn;

  constructor(file: ZonesFile) {
    this.#file = file;
    const ends = file.zones.flatMap(({ memory }) => memory.map(({ zone0Ipa, sizeBytes }) => zone0Ipa + sizeBytes));
    this.#memoryFd = createMemfd('fake-hvisor', Math.max(DRIVER_BYTES, ...ends));
    this.#standIn = new HvisorStandIn(this.#memoryFd, 0);
    for (const { id } of file.zones) this.#standIn.zones.add(id);
  }

  open(): HvisorPort {
    return this.#standIn.open();
  }

  /** Has each zone look at each of its devices; gives a line each. */
  async *play(loop: EventLoop): AsyncGenerator<string> {
    for (const { id, memory, devices } of this.#file.zones)
      for (const { address, irq } of devices) {
        const driver = new ZoneDriver({ standIn: this.#standIn, loop, lines: [], zone: id, cpu: id, address, irq });
        const place = `zone ${id} at 0x${address.toString(16)}`;
        const type = driver.read(0x008);
        const isDisk = type === VIRTIO_ID_BLOCK && memory[0] !== undefined;
        yield `${place}: ${type === 0 ? 'no device' : `a device of type ${type}`}`;
        if (isDisk) yield `${place}: ${await this.#readFirst(driver, memory[0] as ZoneRegion)}`;
      }
  }

  async #readFirst(driver: ZoneDriver, region: ZoneRegion): Promise<string> {
    using mapping = Mapping.ofFile(this.#memoryFd, DRIVER_BYTES, { offset: region.zone0Ipa });
    const memory = new DriverMemory(mapping.bytes, region.zonexIpa);
    const features = await driver.offered();
    await driver.accept(features);
    const queue = new DriverQueue(memory, { size: QUEUE_SIZE, features });
    await driver.setUp(0, QUEUE_SIZE, queue.addresses);
    await driver.start();
    const blocks = new BlockDriver(memory, queue);
    queue.requestCalls();
    blocks.add(blockRequest.read(0, SECTOR));
    queue.publish();
    const startedMs = performance.now();
    driver.kick(0);
    let status: number | undefined;
    await eventually('the first sector', () => {
      status = blocks.harvest()[0]?.status;
      return status !== undefined;
    });
    const us = Math.round((performance.now() - startedMs) * 1000);
    await eventually('its interrupt', () => driver.tookUsedInterrupt());
    await driver.reset();
    return `the first sector was read in ${us} µs, status ${status}`;
  }

  [Symbol.dispose](): void {
    this.#standIn[Symbol.dispose]();
    closeFd(this.#memoryFd);
  }
}
