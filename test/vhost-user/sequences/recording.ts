// test/vhost-user/sequences: the format of a recording: the messages of one VMM and a back end in one scenario.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Fields } from './message-fields.ts';

/** A message, as either side sent it. */
export interface SaidStep {
  readonly from: 'front end' | 'back end';
  readonly request: string;
  readonly flags?: readonly ('REPLY' | 'NEED_REPLY')[];
  readonly payload?: Fields;
  /** What came with it: `eventfd 3`, `memory 1`, `socket 2`. The same file has the same name every time. */
  readonly fds?: readonly string[];
}

/**
 * An event besides the messages. `command`: what the guest or the VMM does next.
 * `requests`: the driver made requests through every ring, and all came back. `refused`: what the VMM said instead.
 */
export interface EventStep {
  readonly event:
    | 'connected'
    | 'closed by the front end'
    | 'closed by the back end'
    | 'command'
    | 'requests'
    | 'refused';
  readonly text?: string;
}

export type Step = SaidStep | EventStep;

export interface Recording {
  /** The program and its version, as it says it. */
  readonly vmm: string;
  readonly scenario: string;
  /** What happens, in a sentence. */
  readonly summary: string;
  /** What ran, in a folder of its own: the VMM, and what served the disk. */
  readonly commands: readonly string[];
  /** Of the guest's kernel. */
  readonly kernel: string;
  /** Protocol features that the front end was shown. */
  readonly offered: string;
  readonly steps: readonly Step[];
}

export interface RecordingFile {
  /** `qemu-7.2/stop-cont`. */
  readonly name: string;
  readonly recording: Recording;
}

/** Every recording beside this file. */
export function recordings(): readonly RecordingFile[] {
  const names = globSync('*/*.json', { cwd: import.meta.dirname }).sort();
  return names.map((path) => ({
    name: path.replace(/\.json$/, ''),
    recording: JSON.parse(readFileSync(join(import.meta.dirname, path), 'utf8')) as Recording,
  }));
}
