// The front door: everything public, nothing else.

export type { BlockDeviceOptions } from './devices/blk/block-config.ts';
export { BlockDevice } from './devices/blk/block-device.ts';
export type { BlockStore, MaybePromise, StoreFilter } from './devices/blk/block-store.ts';
export { type ServeOptions, type ServeThreadsOptions, serve } from './serve.ts';
export { delay } from './stores/filters/delay.ts';
export { forward } from './stores/filters/forward.ts';
export { log } from './stores/filters/log.ts';
export { readOnly } from './stores/filters/read-only.ts';
export { memory } from './stores/memory.ts';
export { type OpenedStore, openStore, reopenStore, type StoreDescription } from './stores/open-store.ts';
export { formatSize, parseSize } from './stores/size.ts';
export { SystemError } from './sys/libc.ts';
export type { QueueReport } from './transports/queue/queue-report.ts';
export { ProtocolError } from './transports/vhost-user/protocol/protocol-error.ts';
export type { DescriptorChain } from './virtio/descriptor-chain.ts';
export type { VirtioDevice } from './virtio/device.ts';
export type { DeviceQueue, ExpectBatch, ServeChain } from './virtio/device-queue.ts';
export { DriverError } from './virtio/errors.ts';
export type { QueueTotals } from './virtio/queue-counters.ts';
export type { Segments } from './virtio/segments.ts';
