// bus/pci: the common configuration structure of virtio-pci, VIRTIO 1.3 §4.1.4.3: fields about the device and the
// selected queue.
import type { DeviceRegisters } from '../device-registers.ts';
import type { QueueRegisters, RingArea } from '../queue-registers.ts';
import type { Registers } from '../registers.ts';
import { CommonConfig as Field, VIRTIO_MSI_NO_VECTOR } from './spec.ts';

interface CommonField {
  readonly sizeBytes: number;
  readonly read?: (common: CommonRegisters) => number;
  readonly write?: (common: CommonRegisters, value: number) => void | Promise<void>;
}

/** The common configuration structure of one function. */
export class CommonRegisters implements Registers {
  readonly registers: DeviceRegisters;
  /** The number of vectors. */
  readonly vectors: number;
  offeredSelect = 0;
  acceptedSelect = 0;
  queueSelect = 0;
  #configVector = VIRTIO_MSI_NO_VECTOR;
  readonly #queueVectors: Uint16Array;

  constructor(registers: DeviceRegisters, vectors: number) {
    this.registers = registers;
    this.vectors = vectors;
    this.#queueVectors = new Uint16Array(registers.queues.length).fill(VIRTIO_MSI_NO_VECTOR);
  }

  /** The queue the driver selected. */
  get queue(): QueueRegisters | undefined {
    return this.registers.queue(this.queueSelect);
  }

  get configVector(): number {
    return this.#configVector;
  }

  set configVector(vector: number) {
    this.#configVector = this.#checked(vector);
  }

  queueVector(index: number): number {
    return this.#queueVectors[index] ?? VIRTIO_MSI_NO_VECTOR;
  }

  setQueueVector(index: number, vector: number): void {
    this.#queueVectors[index] = this.#checked(vector);
    this.registers.callChanged(index);
  }

  /** "Devices MUST report mapping failures by returning the NO_VECTOR value", §4.1.5.1.2.1. */
  #checked(vector: number): number {
    return vector < this.vectors ? vector : VIRTIO_MSI_NO_VECTOR;
  }

  /** The device was reset: no vector is mapped to anything. */
  reset(): void {
    this.offeredSelect = this.acceptedSelect = this.queueSelect = 0;
    this.#configVector = VIRTIO_MSI_NO_VECTOR;
    this.#queueVectors.fill(VIRTIO_MSI_NO_VECTOR);
  }

  /**
   * "the driver MUST use 8-bit wide accesses for 8-bit wide fields", and so on: anything else reads as zero and writes
   * nothing.
   */
  read(offset: number, sizeBytes: number): number {
    const field = fields[offset];
    return field?.sizeBytes === sizeBytes ? (field.read?.(this) ?? 0) : 0;
  }

  write(offset: number, sizeBytes: number, value: number): void | Promise<void> {
    const field = fields[offset];
    if (field?.sizeBytes === sizeBytes) return field.write?.(this, value >>> 0);
  }
}

const addressWord = (part: RingArea, half: 0 | 1): CommonField => ({
  sizeBytes: 4,
  read: ({ queue }) => queue?.addressWord(part, half) ?? 0,
  write: ({ queue }, word) => queue?.setAddressWord(part, half, word),
});

/** By offset. Fields of features that are never offered are missing: they read as zero. */
const fields: { readonly [offset: number]: CommonField } = {
  [Field.device_feature_select]: {
    sizeBytes: 4,
    read: ({ offeredSelect }) => offeredSelect,
    write: (common, select) => {
      common.offeredSelect = select;
    },
  },
  [Field.device_feature]: {
    sizeBytes: 4,
    read: ({ registers, offeredSelect }) => registers.offeredWord(offeredSelect),
  },
  [Field.driver_feature_select]: {
    sizeBytes: 4,
    read: ({ acceptedSelect }) => acceptedSelect,
    write: (common, select) => {
      common.acceptedSelect = select;
    },
  },
  [Field.driver_feature]: {
    sizeBytes: 4,
    read: ({ registers, acceptedSelect }) => registers.acceptedWord(acceptedSelect),
    write: ({ registers, acceptedSelect }, word) => registers.acceptWord(acceptedSelect, word),
  },
  [Field.config_msix_vector]: {
    sizeBytes: 2,
    read: ({ configVector }) => configVector,
    write: (common, vector) => {
      common.configVector = vector;
    },
  },
  [Field.num_queues]: { sizeBytes: 2, read: ({ registers }) => registers.queues.length },
  [Field.device_status]: {
    sizeBytes: 1,
    read: ({ registers }) => registers.status,
    write: ({ registers }, status) => registers.writeStatus(status),
  },
  [Field.config_generation]: { sizeBytes: 1, read: ({ registers }) => registers.generation & 0xff },
  [Field.queue_select]: {
    sizeBytes: 2,
    read: ({ queueSelect }) => queueSelect,
    write: (common, index) => {
      common.queueSelect = index;
    },
  },
  [Field.queue_size]: {
    sizeBytes: 2,
    read: ({ queue }) => queue?.size ?? 0,
    write: ({ queue }, size) => {
      if (queue !== undefined) queue.size = size;
    },
  },
  [Field.queue_msix_vector]: {
    sizeBytes: 2,
    read: (common) => common.queueVector(common.queueSelect),
    write: (common, vector) => {
      if (common.queue !== undefined) common.setQueueVector(common.queueSelect, vector);
    },
  },
  [Field.queue_enable]: {
    sizeBytes: 2,
    read: ({ queue }) => (queue?.ready ? 1 : 0),
    // "The driver MUST NOT write a 0 to queue_enable"
    write: ({ registers, queueSelect }, value) => (value === 1 ? registers.setReady(queueSelect, true) : undefined),
  },
  [Field.queue_notify_off]: { sizeBytes: 2, read: ({ queue }) => queue?.index ?? 0 },
  [Field.queue_desc]: addressWord('descriptorArea', 0),
  [Field.queue_desc + 4]: addressWord('descriptorArea', 1),
  [Field.queue_driver]: addressWord('driverArea', 0),
  [Field.queue_driver + 4]: addressWord('driverArea', 1),
  [Field.queue_device]: addressWord('deviceArea', 0),
  [Field.queue_device + 4]: addressWord('deviceArea', 1),
};
