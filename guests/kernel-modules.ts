// guests: which kernel modules a guest loads, and in which order.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';

export interface KernelModule {
  readonly name: string;
  /** The ELF object, uncompressed, as insmod wants it. */
  readonly bytes: Uint8Array;
}

const MODULE_FILE = /^(.+)\.ko(\.xz|\.zst|\.gz)?$/;

/**
 * The modules of `wanted` and what they depend on, dependencies first; those built into the kernel need no loading.
 * `folder` is /lib/modules/VERSION. Reads each module's own `depends=`, since an unpacked package has no modules.dep.
 * Throws an Error that names the module when it is neither a file nor built in.
 */
export function kernelModules(folder: string, wanted: readonly string[]): readonly KernelModule[] {
  const files = moduleFiles(folder);
  const builtIn = builtInModules(folder);
  const loaded = new Map<string, KernelModule>();
  const load = (name: string): void => {
    if (loaded.has(name) || builtIn.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new Error(`the kernel in ${folder} has no module ${name}`);
    const bytes = moduleBytes(file);
    const { depends, wishes } = moduleInformation(bytes);
    const algorithms = wishes
      .map((wish) => `${wish.replace(/^crypto_/, '')}_generic`)
      .filter((wish) => files.has(wish));
    for (const dependency of [...depends, ...algorithms]) load(dependency);
    loaded.set(name, { name, bytes });
  };
  for (const name of wanted) load(name);
  return [...loaded.values()];
}

function moduleFiles(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const path of readdirSync(join(folder, 'kernel'), { recursive: true, encoding: 'utf8' })) {
    const match = MODULE_FILE.exec(basename(path));
    if (match) files.set(canonicalName(match[1]!), join(folder, 'kernel', path));
  }
  return files;
}

function builtInModules(folder: string): Set<string> {
  const lines = readFileSync(join(folder, 'modules.builtin'), 'utf8').split('\n');
  return new Set(lines.map((line) => canonicalName(basename(line, '.ko'))));
}

// The kernel treats the dash and the underscore in a module's name as one.
function canonicalName(name: string): string {
  return name.replaceAll('-', '_');
}

function moduleBytes(file: string): Uint8Array {
  if (file.endsWith('.xz')) return execFileSync('xz', ['-dc', file], { maxBuffer: 1 << 26 });
  const bytes = readFileSync(file);
  if (file.endsWith('.zst')) return zstdDecompressSync(bytes);
  if (file.endsWith('.gz')) return gunzipSync(bytes);
  return bytes;
}

interface ModuleInformation {
  readonly depends: readonly string[];
  /** Wished for by `softdep=pre:`, an algorithm ("crypto_crc32c") rather than a module. */
  readonly wishes: readonly string[];
}

// .modinfo is a run of NUL-terminated key=value strings.
function moduleInformation(bytes: Uint8Array): ModuleInformation {
  const text = new TextDecoder('latin1').decode(bytes);
  const words = (pattern: RegExp, separator: string): string[] =>
    (pattern.exec(text)?.[1] ?? '').split(separator).filter(Boolean).map(canonicalName);
  return {
    depends: words(/(?:^|\0)depends=([^\0]*)\0/, ','),
    wishes: words(/(?:^|\0)softdep=pre: ?([^\0]*)\0/, ' '),
  };
}
