// cli: `serve net`: a network card at a tap interface or a UNIX stream socket.
import type { FrameRate } from '../devices/net/frame-limit.ts';
import { formatMac, parseMac, randomMac } from '../devices/net/mac-address.ts';
import { parsePort } from '../ports/open-port.ts';
import type { Log } from '../virtio/log.ts';
import { Passt } from './passt.ts';
import type { Rate } from './rate-option.ts';
import type { NetFlags } from './serve-flags.ts';
import { runService } from './serve-run.ts';
import { asUsage, UsageError } from './usage-error.ts';

/** The port that is a passt of our own. */
const USER = 'user';

export async function serveNet(argument: string | undefined, flags: NetFlags): Promise<void> {
  const { poll = 'auto', cpus, pcap, pcapLimit } = flags;
  if (pcap !== undefined && flags.supervise)
    throw new UsageError('--pcap: with --supervise every new device process would begin the file again');
  const recording = pcap === undefined ? {} : { recording: { file: pcap, limitBytes: pcapLimit } };
  const word = portOf(argument, flags);
  if (word === USER && flags.supervise)
    throw new UsageError('user: with --supervise start passt yourself, and take stream:PATH');
  const given = word === USER ? undefined : step('--port', () => parsePort(word));
  const card = cardOf(flags);
  const passt = given === undefined ? await Passt.start() : undefined;
  const port = given ?? ({ kind: 'stream', path: passt?.path ?? '' } as const);
  using _stopped = { [Symbol.dispose]: () => passt?.stop() };
  const tell = (log: Log): void => {
    if (passt !== undefined) passt.onEnd = (why) => log(`user: ${why}; the guest has no network: start this again`);
  };
  await runService(flags, (log) => ({
    started: () => tell(log),
    device: { kind: 'net', port, ...card, ...recording },
    threads: 1,
    poll,
    ...(cpus && { cpus }),
    restore: () => passt?.stop(),
  }));
}

/** The card itself, without its port. Throws UsageError. */
export function cardOf(flags: Pick<NetFlags, 'mac' | 'mtu' | 'limit' | 'limitSend' | 'limitReceive'>) {
  const mac = step('--mac', () => formatMac(flags.mac === undefined ? randomMac() : parseMac(flags.mac)));
  const { mtu, limit, limitSend = limit, limitReceive = limit } = flags;
  const limits = { sendLimit: frameRate(limitSend), receiveLimit: frameRate(limitReceive) };
  return { mac, ...(mtu !== undefined && { mtu }), ...limits };
}

function frameRate(rate: Rate | undefined): FrameRate | undefined {
  return rate && { framesPerSecond: rate.pps, bytesPerSecond: rate.bps, burstSeconds: rate.burst };
}

function portOf(argument: string | undefined, { port }: NetFlags): string {
  if (argument !== undefined && port !== undefined)
    throw new UsageError(`${argument} and --port ${port}: a network card has one port`);
  const given = argument ?? port;
  if (given === undefined)
    throw new UsageError('--port tap:NAME, packet:NAME, stream:PATH, listen:PATH or user is needed');
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
