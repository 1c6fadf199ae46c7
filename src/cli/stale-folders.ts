// cli: folders of a helper process in the temporary folder, left by a command that was ended by SIGKILL.
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Removes the folders `PREFIX*` in `parent` whose file `pid` names a process that has ended. A folder without that file
 * stays: its process may be starting. Never throws: a folder of another user stays too.
 */
export function removeStaleFolders(parent: string, prefix: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(prefix)) continue;
    const folder = join(parent, name);
    try {
      // A link in a folder that all may write could lead anywhere.
      if (!lstatSync(folder).isDirectory()) continue;
      const pid = Number.parseInt(readFileSync(join(folder, 'pid'), 'utf8'), 10);
      if (pid > 0 && !existsSync(`/proc/${pid}`)) rmSync(folder, { recursive: true, force: true });
    } catch {
      // Not ours, not started yet, or removed meanwhile.
    }
  }
}
