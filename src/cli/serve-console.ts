// cli: `serve console`: a console whose ports lead to this terminal, pipes, pseudo-terminals, sockets and files.
import { once } from 'node:events';
import { Socket } from 'node:net';
import type { ConsolePlace } from '../daemon/console-place.ts';
import { PORTS_MAX } from '../devices/console/console-device.ts';
import { UnixSocket } from '../sys/unix-socket.ts';
import { type MadePlace, makePlace } from './console-places.ts';
import type { PlaceWord, PortWord } from './console-words.ts';
import { ConsoleStreams } from './serve-console-streams.ts';
import type { ConsoleFlags } from './serve-flags.ts';
import { runService, type Service } from './serve-run.ts';
import { UsageError } from './usage-error.ts';

export async function serveConsole(flags: ConsoleFlags, ports: readonly PortWord[]): Promise<void> {
  const where = consoleOf(flags, ports);
  checkPorts(ports, where);
  const usesStdio = where.kind === 'stdio' || ports.some(({ place }) => place.kind === 'stdio');
  if (flags.supervise && usesStdio)
    throw new UsageError('--supervise: a console on this terminal ends with its process; --listen PATH has clients');
  // Standard output has the guest's output only: log lines go to standard error.
  await runService({ ...flags, toStderr: usesStdio }, () => {
    const places = new ConsolePlaces();
    try {
      return places.service(where, ports);
    } catch (error) {
      places[Symbol.dispose]();
      throw error;
    }
  });
}

/** Where /dev/hvc0 leads. */
function consoleOf({ listen, console }: ConsoleFlags, ports: readonly PortWord[]): PlaceWord {
  if (listen !== undefined && console !== undefined)
    throw new UsageError('--listen PATH is the same as --console unix:PATH: give one of them');
  if (listen !== undefined) return { kind: 'unix', path: listen };
  if (console?.kind === 'none' && ports.length === 0)
    throw new UsageError('--console none: nothing is left; --port NAME=WHERE adds a port');
  return console ?? { kind: 'stdio' };
}

function checkPorts(ports: readonly PortWord[], where: PlaceWord): void {
  const most = PORTS_MAX - 1;
  if (ports.length > most) throw new UsageError(`--port: ${ports.length} ports; a console has at most ${most}`);
  const names = new Set<string>();
  for (const { name } of ports) {
    if (names.has(name)) throw new UsageError(`--port ${name}: there are two ports of this name`);
    names.add(name);
  }
  const onStdio = ports.filter(({ place }) => place.kind === 'stdio').map(({ name }) => `--port ${name}=stdio`);
  if (where.kind === 'stdio') onStdio.unshift('/dev/hvc0');
  if (onStdio.length > 1)
    throw new UsageError(`${onStdio.slice(0, 2).join(' and ')}: only one can have this terminal; see --console`);
}

/** What is open in the main thread. */
class ConsolePlaces implements Disposable {
  readonly #made: Disposable[] = [];
  #line: Socket | undefined;
  #streams: ConsoleStreams | undefined;

  service(where: PlaceWord, words: readonly PortWord[]): Service {
    const console = where.kind === 'none' ? undefined : this.#make(where);
    const ports = words.map(({ name, place }) => ({ name, ...this.#make(place) }));
    const { window, keys } = this.#streams ?? {};
    return {
      device: {
        kind: 'console',
        name: console === undefined ? 'serial ports' : nameOf(where, console.at),
        ...(console && { console: console.place }),
        // The size is that of a console.
        ...(where.kind === 'stdio' && window && { window }),
        ports: ports.map(({ name, place }) => ({ name, place })),
      },
      threads: 1,
      poll: 'off',
      ...(keys && { keys }),
      ...(ports.length > 0 && { ports: ports.map(({ name, at }) => ({ name, at })) }),
      started: (device) => this.#streams?.start(device),
      close: async () => {
        // The guest's last output may not have been passed on yet.
        if (this.#line?.readableEnded === false) await once(this.#line, 'end');
      },
      restore: () => this[Symbol.dispose](),
    };
  }

  #make(word: PlaceWord): { readonly place: ConsolePlace; readonly at: string } {
    if (word.kind === 'none' || word.kind === 'stdio') return this.#makeLine();
    const made: MadePlace = makePlace(word);
    this.#made.push(made);
    return made;
  }

  #makeLine(): { readonly place: ConsolePlace; readonly at: string } {
    const [near, far] = UnixSocket.pair();
    this.#line = new Socket({ fd: near.fd }).on('error', () => {});
    this.#streams = new ConsoleStreams(this.#line);
    this.#made.push(this.#streams);
    return { place: { kind: 'line', fd: far.fd }, at: this.#streams.name };
  }

  /** More than once is the same as once. */
  [Symbol.dispose](): void {
    for (const made of this.#made.splice(0)) made[Symbol.dispose]();
  }
}

function nameOf(where: PlaceWord, at: string): string {
  if (where.kind === 'stdio') return `a console on ${at}`;
  return where.kind === 'unix' ? `a console for clients of ${at}` : `a console at ${at}`;
}
