// stores: error messages for the name of a disk that does not exist: what the user most likely meant.
import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';

const KINDS = 'a store is mem:SIZE, a file, a block device or a module';
const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
const MODULE_EXTENSIONS = ['.ts', '.js', '.mts', '.mjs', '.cts', '.cjs'];
/** The names for which `truncate` is advised: without an extension, or with that of a raw image. */
const NEW_IMAGE = /^([\w+-]+|[\w+.-]+\.(img|image|raw|bin|disk|dsk))$/i;

/** Throws RangeError for a URL (`https://…`), which is not the name of a file. */
export function refuseScheme(spec: string): void {
  const scheme = SCHEME.exec(spec)?.[1]?.toLowerCase();
  if (scheme !== undefined) throw new RangeError(`${scheme}:// cannot be opened: ${KINDS}: ${schemeAdvice(scheme)}`);
}

function schemeAdvice(scheme: string): string {
  if (scheme === 'file') return 'write the path alone';
  if (/^nbds?(\+unix)?$/.test(scheme)) return 'nbd-client or qemu-nbd makes a block device of it';
  if (/^https?$/.test(scheme)) return 'examples/http-range-disk.ts is a module that reads it';
  return 'write a module that opens it';
}

/** Returns a message for a path that does not exist: the likely reason, and what to do. */
export function missingAdvice(path: string): string {
  const extension = MODULE_EXTENSIONS.find((each) => existsSync(path + each));
  if (extension !== undefined) return `${path} does not exist, but ${path}${extension} does: write the whole name`;
  const folder = dirname(path);
  if (!existsSync(folder)) return `${path} does not exist, nor does the folder ${folder}`;
  const plain = path.replace(/:ro$/, '');
  if (plain !== path && existsSync(plain)) return `${path} does not exist, but ${plain} does: open that read-only`;
  if (!NEW_IMAGE.test(basename(path))) return `${path} does not exist`;
  return `${path} does not exist: "truncate -s 1G ${path}" makes an empty disk of 1 GiB`;
}
