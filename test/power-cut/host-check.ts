// test/power-cut: checks cut points of an ext4 with this machine's e2fsck, which replays the journal, and debugfs.
import { join } from 'node:path';
import type { CutPoint } from './cut-points.ts';
import { type CutState, cutStates, type OnReport, type Recorded } from './cut-state.ts';
import { HostShell } from './host-shell.ts';
import { ext4Files, writeImage } from './image-file.ts';

/** From this exit code on, e2fsck(8) left errors, or could not do its work. */
const ERRORS_LEFT = 4;

export interface HostCheckOptions {
  readonly points: readonly CutPoint[];
  /** For images; on a file system in memory it is fast. */
  readonly folder: string;
  readonly onReport: OnReport;
  readonly signal?: AbortSignal;
}

/** One point after another. Throws an Error when aborted. */
export async function checkOnHost(recorded: Recorded, options: HostCheckOptions): Promise<void> {
  using shell = new HostShell(options.signal);
  for (const state of cutStates(recorded, options.points)) {
    const problems = await problemsOf(state, options.folder, shell);
    if (!options.onReport({ state, where: 'on this machine', problems })) return;
  }
}

async function problemsOf({ image, promises }: CutState, folder: string, shell: HostShell): Promise<string[]> {
  const path = join(folder, 'host.img');
  writeImage(path, image);
  // Replays the journal, and checks nothing more, unless the file system is marked as damaged.
  const started = await shell.run('e2fsck', '-p', path);
  if (started.code >= ERRORS_LEFT) return [`e2fsck -p exited with ${started.code}: ${started.output}`];
  const clean = await shell.run('e2fsck', '-f', '-n', path);
  const problems = clean.code === 0 ? [] : [`e2fsck -n exited with ${clean.code}: ${clean.output}`];
  return [...problems, ...promises.broken(await ext4Files(path, join(folder, 'host-files'), shell))];
}
