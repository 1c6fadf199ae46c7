// guests: the first root file system of a guest: programs, modules and the script it runs.
import type { CpioEntry } from './cpio.ts';
import { newcArchive } from './cpio.ts';
import type { KernelModule } from './kernel-modules.ts';

const FOLDERS = ['bin', 'sbin', 'lib', 'lib64', 'dev', 'proc', 'sys', 'tmp', 'mnt', 'modules'];

/** What goes into the archive: `files` from `guestPrograms` and others, its `init` among them. */
export interface InitramfsParts {
  readonly files: readonly CpioEntry[];
  readonly modules: readonly KernelModule[];
}

/** A newc archive Linux can boot from, not compressed: unpacking costs an emulated guest more than reading. */
export function guestInitramfs(parts: InitramfsParts): Uint8Array {
  const folders = FOLDERS.map((path): CpioEntry => ({ kind: 'folder', path }));
  // init's output goes to /dev/console, which the kernel opens before anything is mounted on /dev.
  const console: CpioEntry = { kind: 'character-device', path: 'dev/console', major: 5, minor: 1 };
  const modules = parts.modules.map(
    (module): CpioEntry => ({ kind: 'file', path: `modules/${module.name}.ko`, mode: 0o644, bytes: module.bytes }),
  );
  return newcArchive([...folders, console, ...parts.files, ...modules]);
}

/** A script at `path` ("init") that starts with its own interpreter. */
export function scriptEntry(path: string, script: string): CpioEntry {
  return { kind: 'file', path, mode: 0o755, bytes: new TextEncoder().encode(script) };
}
