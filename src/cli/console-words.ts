// cli: the parsers of --console and --port of `serve console`.
import { InvalidArgumentError } from 'commander';
import { checkName } from '../devices/console/port-options.ts';
import { SOCKET_PATH_MAX } from '../sys/unix-socket.ts';

/** Where a port leads. */
export type PlaceWord =
  | { readonly kind: 'stdio' }
  | { readonly kind: 'none' }
  /** `link`: a symbolic link to make to the terminal. */
  | { readonly kind: 'pty'; readonly link?: string }
  | { readonly kind: 'unix' | 'file'; readonly path: string };

export interface PortWord {
  readonly name: string;
  readonly place: PlaceWord;
}

const FORMS = 'stdio, pty, pty:LINK, unix:PATH or file:PATH';

/** Parses `stdio`, `none`, `pty`, `pty:/tmp/shell`, `unix:/tmp/con.sock`, `file:guest.log`. */
export function placeWord(text: string): PlaceWord {
  const [, kind, path] = /^(\w+)(?::(.*))?$/s.exec(text) ?? [];
  if ((kind === 'stdio' || kind === 'none') && path === undefined) return { kind };
  if (kind === 'pty' && path !== '') return { kind, ...(path !== undefined && { link: path }) };
  if (kind === 'unix' && path) return { kind, path: socketPath(path) };
  if (kind === 'file' && path) return { kind, path };
  throw new InvalidArgumentError(`It takes ${FORMS}.`);
}

/** Parses `agent=unix:/tmp/agent.sock`. */
export function portWord(text: string): PortWord {
  const at = text.indexOf('=');
  if (at < 0) throw new InvalidArgumentError(`It takes NAME=WHERE, where WHERE is ${FORMS}.`);
  const [name, where] = [text.slice(0, at), text.slice(at + 1)];
  try {
    checkName(name);
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
  const place = placeWord(where);
  if (place.kind === 'none') throw new InvalidArgumentError(`It takes NAME=WHERE, where WHERE is ${FORMS}.`);
  return { name, place };
}

function socketPath(path: string): string {
  const { length } = new TextEncoder().encode(path);
  if (length > SOCKET_PATH_MAX)
    throw new InvalidArgumentError(`A socket path has at most ${SOCKET_PATH_MAX} bytes, this one has ${length}.`);
  return path;
}
