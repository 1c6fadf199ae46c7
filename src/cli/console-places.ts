// cli: opens where the ports of a served console lead: pseudo-terminals, sockets and files. Its thread does the rest.
import { closeSync, constants, existsSync, fstatSync, openSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import type { ConsolePlace } from '../daemon/console-place.ts';
import { SystemError } from '../sys/libc.ts';
import { PseudoTerminal } from '../sys/pseudo-terminal.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import type { PlaceWord } from './console-words.ts';

/** An opened place; disposing it closes it and removes what was made for it. */
export interface MadePlace extends Disposable {
  readonly place: ConsolePlace;
  /** As it is shown: `/dev/pts/5`. */
  readonly at: string;
}

/** Throws SystemError, or an error of node:fs, with the path. */
export function makePlace(word: Exclude<PlaceWord, { kind: 'stdio' } | { kind: 'none' }>): MadePlace {
  if (word.kind === 'pty') return terminal(word.link);
  return word.kind === 'unix' ? listener(word.path) : file(word.path);
}

function terminal(link: string | undefined): MadePlace {
  const pty = PseudoTerminal.open();
  try {
    if (link !== undefined) makeLink(pty.path, link);
  } catch (error) {
    pty[Symbol.dispose]();
    throw error;
  }
  return {
    place: { kind: 'pty', fd: pty.fd, path: pty.path },
    at: link === undefined ? pty.path : `${link} (${pty.path})`,
    [Symbol.dispose]() {
      if (link !== undefined && targetOf(link) === pty.path) unlinkSync(link);
      pty[Symbol.dispose]();
    },
  };
}

/** A link to a terminal that is gone was left behind by a process that was killed. */
function makeLink(path: string, link: string): void {
  const other = targetOf(link);
  if (other?.startsWith('/dev/pts/') === true) {
    if (existsSync(other)) throw new SystemError('symlink', 'EEXIST', `${link} leads to ${other}, which is in use`);
    unlinkSync(link);
  }
  try {
    symlinkSync(path, link);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const advice = code === 'EEXIST' ? 'is there, and is no link to a terminal: remove it' : 'cannot be made';
    throw new SystemError('symlink', code, `${link} ${advice}`);
  }
}

function targetOf(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}

function listener(path: string): MadePlace {
  const socket = UnixListener.listen(path);
  return {
    place: { kind: 'unix', fd: socket.fd, path },
    at: path,
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}

/** Appends to a file. A pipe without a reader would block, and another kind of file is nothing that grows. */
function file(path: string): MadePlace {
  const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;
  const fd = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK);
  if (!fstatSync(fd).isFile()) {
    closeSync(fd);
    throw new SystemError('open', 'EINVAL', `${path} is no regular file`);
  }
  return { place: { kind: 'file', fd }, at: path, [Symbol.dispose]: () => closeSync(fd) };
}
