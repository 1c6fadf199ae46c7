// test/cli: a disk served by `belfry serve blk` in a process of its own, and guests that use it.
import { join } from 'node:path';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import type { RawGuest } from '../../src/testing/raw-guest.ts';
import { type Attached, attach } from '../vhost-user/back-end.ts';
import { type Running, startBelfry } from './belfry-process.ts';

/** A running `belfry serve blk`. Disposing of it kills it. */
export interface ServedDisk extends AsyncDisposable {
  readonly process: Running;
  readonly folder: string;
  /** Connects a front end whose guest drives one queue. */
  attach(guest: RawGuest): Promise<Attached>;
}

/** Runs `belfry serve blk ...args` in `folder`, and waits until it listens on a socket there. */
export async function serveDisk(folder: string, args: readonly string[]): Promise<ServedDisk> {
  const process = startBelfry(['serve', 'blk', ...args, '--socket', 'sock'], { cwd: folder });
  await process.says(/Serving|"listening"/);
  const connect = (): RawFrontEnd => RawFrontEnd.connect(join(folder, 'sock'));
  return {
    process,
    folder,
    attach: (guest) => attach({ path: '', lines: [], connect }, guest),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}
