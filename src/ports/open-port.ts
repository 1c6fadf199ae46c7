// ports: which port a network card has, as text and as a plain value that another thread can open.
import type { NetPort } from '../devices/net/net-port.ts';
import { SOCKET_PATH_MAX } from '../sys/unix-socket.ts';
import { PacketPort } from './packet-port.ts';
import { StreamPort } from './stream-port.ts';
import { TAP_NAME_MAX, TapPort } from './tap-port.ts';

/** A port as a plain value. */
export type PortDescription =
  | { readonly kind: 'tap'; readonly name: string }
  | { readonly kind: 'packet'; readonly name: string }
  | { readonly kind: 'stream' | 'listen'; readonly path: string };

const FORMS = 'tap:NAME, packet:NAME, stream:PATH or listen:PATH';

/** Parses `tap:vm0`, `stream:/tmp/passt.sock`, `listen:/tmp/net.sock`. Throws RangeError: what to type. */
export function parsePort(text: string): PortDescription {
  const [, kind, rest = ''] = /^(\w+):(.*)$/s.exec(text) ?? [];
  if (kind === 'tap' || kind === 'packet') return { kind, name: interfaceName(text, rest) };
  if (kind === 'stream' || kind === 'listen') return { kind, path: socketPath(text, rest) };
  throw new RangeError(`"${text}" is not a port; ${FORMS} is wanted`);
}

function interfaceName(text: string, name: string): string {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0 || bytes > TAP_NAME_MAX)
    throw new RangeError(`${text}: the name of an interface has 1 to ${TAP_NAME_MAX} bytes, this one has ${bytes}`);
  // dev_valid_name of the kernel; a "%" would make it choose a number.
  if (/[\s/:%]/.test(name) || name === '.' || name === '..')
    throw new RangeError(`${text}: the name of an interface has no space, "/", ":" or "%"`);
  return name;
}

function socketPath(text: string, path: string): string {
  const bytes = new TextEncoder().encode(path).length;
  if (bytes === 0 || bytes > SOCKET_PATH_MAX)
    throw new RangeError(`${text}: a socket path has 1 to ${SOCKET_PATH_MAX} bytes, this one has ${bytes}`);
  return path;
}

/** Opens a port on this thread. Throws SystemError that says what to do. */
export function openPort(port: PortDescription): NetPort {
  if (port.kind === 'tap') return new TapPort(port.name);
  if (port.kind === 'packet') return new PacketPort(port.name);
  return new StreamPort({ path: port.path, isListening: port.kind === 'listen' });
}

/** Formats a port as `parsePort` takes it. */
export function formatPort(port: PortDescription): string {
  return `${port.kind}:${'name' in port ? port.name : port.path}`;
}
