// cli: `serve net`: a network card at a tap interface or a UNIX stream socket.
import { formatMac, parseMac, randomMac } from '../devices/net/mac-address.ts';
import { parsePort } from '../ports/open-port.ts';
import type { NetFlags } from './serve-flags.ts';
import { runService } from './serve-run.ts';
import { asUsage, UsageError } from './usage-error.ts';

export async function serveNet(argument: string | undefined, flags: NetFlags): Promise<void> {
  const { mtu, poll = 'auto', cpus } = flags;
  const port = step('--port', () => parsePort(portOf(argument, flags)));
  const mac = step('--mac', () => formatMac(flags.mac === undefined ? randomMac() : parseMac(flags.mac)));
  await runService(flags, () => ({
    device: { kind: 'net', port, mac, ...(mtu !== undefined && { mtu }) },
    threads: 1,
    poll,
    ...(cpus && { cpus }),
  }));
}

function portOf(argument: string | undefined, { port }: NetFlags): string {
  if (argument !== undefined && port !== undefined)
    throw new UsageError(`${argument} and --port ${port}: a network card has one port`);
  const given = argument ?? port;
  if (given === undefined) throw new UsageError('--port tap:NAME, stream:PATH or listen:PATH is needed');
  return given;
}

/** Runs `make`; a RangeError of it becomes a UsageError about `flag`. */
function step<T>(flag: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw asUsage(error, flag);
  }
}
