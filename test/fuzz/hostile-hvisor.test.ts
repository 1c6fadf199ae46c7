// test/fuzz: a zone of hvisor that makes accesses of any address, size and value: each is answered exactly once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockRequest } from '../../src/testing/block-request.ts';
import { HvisorDriver } from '../../src/testing/hvisor-driver.ts';
import type { ZoneAccess } from '../../src/testing/hvisor-stand-in.ts';
import { eventually } from '../../src/testing/patience.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { settle, TransportWorld } from '../../src/testing/transport-world.ts';
import { MmioRegister } from '../../src/transports/bus/mmio/spec.ts';

const SEEDS = [1, 2, 3, 4];
const ACCESSES = 1500;
const CPUS = 8;
const REGISTERS = Object.values(MmioRegister);
const SIZES = [4, 4, 4, 4, 1, 2, 8, 0, 3, 5, 4096, 2 ** 32, 2 ** 52];
const VALUES = [0n, 1n, 2n, 3n, 7n, 11n, 15n, 16n, 256n, 0xffffn, 0x1000_0000n, 0xffff_ffffn, 2n ** 64n - 1n];

function anyAccess(driver: HvisorDriver, random: SeededRandom, guestAddress: number): ZoneAccess {
  const value = random.oneIn(4) ? BigInt(guestAddress + 16 * random.below(1000)) : random.of(VALUES);
  const offset = random.oneIn(8) ? random.below(0x400) - 0x100 : random.of(REGISTERS) + (random.oneIn(16) ? 1 : 0);
  const access = driver.accessAt(offset, random.of(SIZES), !random.oneIn(4), value);
  const cpu = random.oneIn(50) ? 32 + random.below(2 ** 20) : random.below(CPUS);
  const zone = random.oneIn(16) ? random.below(2 ** 32) : 1;
  const address = random.oneIn(16) ? random.of([0, 2 ** 32, 2 ** 53 - 1, 2 ** 60]) : access.address;
  return { ...access, cpu, zone, address, ...(random.oneIn(16) && { isAsynchronous: random.flip() }) };
}

for (const seed of SEEDS)
  test(`any accesses of a zone, seed ${seed}: each that waits is answered once, and the device works after a reset`, async () => {
    await using world = new TransportWorld((device, guest) => new HvisorDriver(device, guest));
    const driver = world.driver as HvisorDriver;
    const { standIn } = driver;
    const random = new SeededRandom(seed);
    const asked = new Array<number>(CPUS).fill(0);
    for (let i = 0; i < ACCESSES; i++) {
      const access = anyAccess(driver, random, world.guest.region.guestAddress);
      if (!standIn.push(access)) await eventually('room', () => standIn.push(access));
      if (!standIn.isAsynchronous(access) && access.cpu < CPUS) asked[access.cpu] = (asked[access.cpu] as number) + 1;
      if (random.oneIn(8)) await settle();
      if (random.oneIn(16)) driver.takeLine();
    }
    const answers = (): number[] => asked.map((_, cpu) => standIn.answersOf(cpu));
    await eventually('every answer', () => answers().every((count, cpu) => count >= (asked[cpu] as number)));
    assert.deepEqual(answers(), asked);
    const [queue] = await world.run();
    assert.equal((await queue!.serve(blockRequest.read(0, 512))).length, 1);
  });
