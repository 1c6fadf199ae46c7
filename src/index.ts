// The public API of the package: everything public, nothing else.

export { MemoryLostError } from './daemon/memory-loss.ts';
export type { DeviceProfile } from './daemon/open-device.ts';
export type { ServedDevice } from './daemon/served-device.ts';
export type { BlockDeviceOptions } from './devices/blk/block-config.ts';
export { BlockDevice } from './devices/blk/block-device.ts';
export type { BlockStore, Completion, CompletionListener, StoreFilter } from './devices/blk/block-store.ts';
export type { ErrorPolicy } from './devices/blk/error-policy.ts';
export { ConsoleDevice, type ConsoleDeviceOptions } from './devices/console/console-device.ts';
export type { ConsoleSink, ConsoleWritable } from './devices/console/console-output.ts';
export type { ConsolePort } from './devices/console/console-port.ts';
export type { ConsoleSize } from './devices/console/console-size.ts';
export type { ConsoleDescriptor, ConsoleSource, ConsoleStream } from './devices/console/console-source.ts';
export type { ConsoleDuplex, ConsolePortOptions, PortEnd } from './devices/console/port-options.ts';
export type { FrameRate } from './devices/net/frame-limit.ts';
export type { NetDeviceOptions } from './devices/net/net-config.ts';
export type { NetCounters } from './devices/net/net-counters.ts';
export { NetDevice } from './devices/net/net-device.ts';
export type { NetPort, PortContext } from './devices/net/net-port.ts';
export { RngDevice, type RngDeviceOptions } from './devices/rng/rng-device.ts';
export { VsockDevice, type VsockDeviceOptions } from './devices/vsock/vsock-device.ts';
export type {
  VsockConnection,
  VsockContext,
  VsockDial,
  VsockEndpoint,
  VsockPort,
  VsockType,
} from './devices/vsock/vsock-port.ts';
export type { ConsoleEnd } from './ports/console-end.ts';
export { ListenerStream, type ListenerStreamOptions } from './ports/listener-stream.ts';
export { NetSwitch, type NetSwitchOptions, type SwitchPort } from './ports/net-switch.ts';
export { openPort, type PortDescription, parsePort } from './ports/open-port.ts';
export { PacketPort } from './ports/packet-port.ts';
export { PtyStream } from './ports/pty-stream.ts';
export { type RecordFramesOptions, recordFrames } from './ports/record-frames.ts';
export { StreamPort, type StreamPortOptions } from './ports/stream-port.ts';
export { TapPort } from './ports/tap-port.ts';
export { VsockHost, type VsockHostOptions, type VsockListener, type VsockTypeOption } from './ports/vsock-host.ts';
export { VsockSocket } from './ports/vsock-socket.ts';
export { type ServeOptions, type ServeThreadsOptions, serve } from './serve.ts';
export { StoreCompletion } from './stores/completion.ts';
export { delay } from './stores/filters/delay.ts';
export { forward } from './stores/filters/forward.ts';
export { limit } from './stores/filters/limit.ts';
export { type Limit, type LimitOptions, type LimitScope, Limits, parseLimit } from './stores/filters/limits.ts';
export { log } from './stores/filters/log.ts';
export { readOnly } from './stores/filters/read-only.ts';
export { ImageFormatError } from './stores/image-format.ts';
export { memory } from './stores/memory.ts';
export { type OpenedStore, openStore, reopenStore, type StoreDescription } from './stores/open-store.ts';
export { formatSize, parseSize } from './stores/size.ts';
export { SystemError } from './sys/libc.ts';
export type { QueueReport } from './transports/queue/queue-report.ts';
export { ProtocolError } from './transports/vhost-user/protocol/protocol-error.ts';
export type { DescriptorChain } from './virtio/descriptor-chain.ts';
export type { DeviceConfig, DeviceContext, VirtioDevice } from './virtio/device.ts';
export type { DeviceQueue, ExpectBatch, ServeChain } from './virtio/device-queue.ts';
export { DriverError } from './virtio/errors.ts';
export type { About, EventName, Level, Log } from './virtio/log.ts';
export type { MaybePromise } from './virtio/maybe-promise.ts';
export type { QueueTotals } from './virtio/queue-counters.ts';
export type { Segments } from './virtio/segments.ts';
export {
  VIRTIO_ID_9P,
  VIRTIO_ID_BALLOON,
  VIRTIO_ID_BLOCK,
  VIRTIO_ID_BT,
  VIRTIO_ID_CAN,
  VIRTIO_ID_CLOCK,
  VIRTIO_ID_CONSOLE,
  VIRTIO_ID_CRYPTO,
  VIRTIO_ID_ENTROPY,
  VIRTIO_ID_FS,
  VIRTIO_ID_GPIO,
  VIRTIO_ID_GPU,
  VIRTIO_ID_I2C_ADAPTER,
  VIRTIO_ID_INPUT,
  VIRTIO_ID_IOMMU,
  VIRTIO_ID_MEM,
  VIRTIO_ID_NET,
  VIRTIO_ID_PMEM,
  VIRTIO_ID_SCMI,
  VIRTIO_ID_SCSI,
  VIRTIO_ID_SOUND,
  VIRTIO_ID_VSOCK,
} from './virtio/spec.ts';
