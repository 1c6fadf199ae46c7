// test/power-cut: checks cut points of an ext4 with this machine's e2fsck, which replays the journal, and debugfs.
import { join } from 'node:path';
import type { CutPoint } from './cut-points.ts';
import { type CutState, cutStates, type OnReport, type PointReport, type Recorded } from './cut-state.ts';
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
    const found = await check(state, options.folder, shell);
    if (!options.onReport({ state, where: 'on this machine', ...found })) return;
  }
}

type Found = Pick<PointReport, 'problems' | 'broken'>;

async function check({ image, promises }: CutState, folder: string, shell: HostShell): Promise<Found> {
  const path = join(folder, 'host.img');
  writeImage(path, image);
  // Replays the journal, and checks nothing more, unless the file system is marked as damaged.
  const started = await shell.run('e2fsck', '-p', path);
  if (started.code >= ERRORS_LEFT)
    return { problems: [`e2fsck -p exited with ${started.code}: ${started.output}`], broken: [] };
  const clean = await shell.run('e2fsck', '-f', '-n', path);
  const problems = clean.code === 0 ? [] : [`e2fsck -n exited with ${clean.code}: ${clean.output}`];
  return { problems, broken: promises.broken(await ext4Files(path, join(folder, 'host-files'), shell)) };
}
