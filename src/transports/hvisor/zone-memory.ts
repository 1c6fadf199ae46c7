// hvisor: a zone's memory, as the zones file names it; no byte outside is ever mapped.
import { GuestMemory } from '../../virtio/guest-memory.ts';
import type { HvisorPort } from './hvisor-port.ts';

/** A piece of a zone's memory. */
export interface ZoneRegion {
  /** Where zone 0 has it: the offset in /dev/hvisor. */
  readonly zone0Ipa: number;
  /** Where the zone has it. */
  readonly zonexIpa: number;
  readonly sizeBytes: number;
}

/** Maps the regions of a zone. Throws SystemError, or RangeError where two overlap. */
export function mapZoneMemory(port: HvisorPort, regions: readonly ZoneRegion[]): GuestMemory {
  const memory = new GuestMemory();
  for (const { zone0Ipa, zonexIpa, sizeBytes } of regions)
    memory.add({ guestAddress: zonexIpa, bytes: port.mapMemory(zone0Ipa, sizeBytes) });
  return memory;
}
