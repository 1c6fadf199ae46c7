// guests: parses the lines that a scenario's script prints on the console, among the kernel's messages.
import { diskName } from './scenario.ts';

/** One step of the guest. */
export interface GuestStep {
  /** "vda", "vdb", ... or '' for what concerns the whole guest. */
  readonly disk: string;
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  /** Bytes moved to or from the disk in that time; 0 where a rate would mean nothing. */
  readonly sizeBytes: number;
}

/** What the guest's driver reports about one disk. */
export interface GuestDisk {
  readonly name: string;
  /** The serial number that VIRTIO_BLK_T_GET_ID returned. */
  readonly serial: string;
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  /** Request queues the driver really uses. */
  readonly queues: number;
  readonly readOnly: boolean;
  /** Where `read-all` found an ext4: vda, vda1, ..., or '' where there is none. */
  readonly ext4?: string;
}

const SECTOR_BYTES = 512;
const LINE = /BELFRY (step|fact|done) (.*)$/;
const STEP = /^disk=(\S*) name=(\S+) result=(ok|failed) us=(-?\d+) bytes=(\d+)$/;
const FACT = /^disk=(\S*) ([a-z0-9-]+)=(.*)$/;

/** Collects steps and facts line by line. Lines that are not the script's are ignored, and so are damaged ones. */
export class ConsoleParser {
  readonly #steps: GuestStep[] = [];
  readonly #facts = new Map<string, string>();
  #lastWords = '';
  #outcome: 'ok' | 'failed' | undefined;

  /** The step this line reports, if it reports one. */
  accept(line: string): GuestStep | undefined {
    const match = LINE.exec(line);
    if (!match) {
      if (this.#steps.at(-1)?.ok === false && this.#outcome === undefined)
        this.#lastWords = line.trim() || this.#lastWords;
      return undefined;
    }
    const [, kind, rest] = match as unknown as [string, string, string];
    if (kind === 'step') return this.#acceptStep(rest);
    if (kind === 'done') this.#outcome = rest === 'ok' ? 'ok' : 'failed';
    const fact = kind === 'fact' ? FACT.exec(rest) : null;
    if (fact) this.#facts.set(`${fact[1]} ${fact[2]}`, fact[3]!.trim());
    return undefined;
  }

  get steps(): readonly GuestStep[] {
    return this.#steps;
  }

  /** The last line the failed step's command printed, '' when no step failed or it printed nothing. */
  get lastWords(): string {
    return this.#lastWords;
  }

  /** What the script reported at its end; undefined when it did not get there. */
  get outcome(): 'ok' | 'failed' | undefined {
    return this.#outcome;
  }

  /** Release of the guest's kernel, '' before it said so. */
  get kernel(): string {
    return this.#facts.get(' kernel') ?? '';
  }

  /** The disks it described, in the order of their names. */
  get disks(): readonly GuestDisk[] {
    const disks: GuestDisk[] = [];
    for (let name = diskName(0); this.#facts.has(`${name} sectors`); name = diskName(disks.length)) {
      const fact = (key: string): string => this.#facts.get(`${name} ${key}`) ?? '';
      disks.push({
        name,
        serial: fact('serial'),
        sizeBytes: Number(fact('sectors')) * SECTOR_BYTES,
        logicalBlockBytes: Number(fact('logical-block-bytes')),
        queues: Number(fact('queues')),
        readOnly: fact('read-only') === '1',
        ...(this.#facts.has(`${name} ext4`) && { ext4: fact('ext4') }),
      });
    }
    return disks;
  }

  #acceptStep(rest: string): GuestStep | undefined {
    const match = STEP.exec(rest);
    if (!match) return undefined;
    const [, disk, name, result, us, bytes] = match as unknown as [string, string, string, string, string, string];
    const step = { disk, name, ok: result === 'ok', ms: Number(us) / 1000, sizeBytes: Number(bytes) };
    this.#steps.push(step);
    return step;
  }
}
