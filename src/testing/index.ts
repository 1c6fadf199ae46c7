// testing: what `belfry/testing` exports: drivers and conformance suites, to test stores, devices and transports.

export type { RingAreas } from '../virtio/ring-format.ts';
export { BlockDriver, type BlockResult, type Framing, STATUS_UNWRITTEN } from './block-driver.ts';
export { BlockLoopback, type BlockLoopbackOptions } from './block-loopback.ts';
export { type BlockRequest, blockRequest, encodeReadable, type SectorRange } from './block-request.ts';
export { ChainDriver, type ChainPieces, UNWRITTEN, type UsedChain } from './chain-driver.ts';
export { Chooser } from './chooser.ts';
export type { DefineTest } from './define-test.ts';
export { type ConformingQueue, type DeviceConformanceOptions, deviceConformance } from './device-conformance.ts';
export { DeviceLoopback, type DeviceLoopbackOptions } from './device-loopback.ts';
export { DriverMemory } from './driver-memory.ts';
export {
  DeviceError,
  type DriverBuffer,
  DriverQueue,
  type DriverQueueOptions,
} from './driver-queue.ts';
export { every } from './every.ts';
export type { LoopbackQueue } from './loopback-queue.ts';
export type { RawGuest } from './raw-guest.ts';
export { SeededRandom } from './seeded-random.ts';
export { type StoreConformanceOptions, storeConformance } from './store-conformance.ts';
export { transportConformance } from './transport-conformance.ts';
export type { TransportDriver } from './transport-driver.ts';
export type { OpenTransport } from './transport-world.ts';
