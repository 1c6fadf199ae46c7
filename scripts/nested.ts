// npm run nested -- COMMAND...: runs a command on this checkout in a Linux with kvm-amd, on an emulated processor.
import { parseArgs } from 'node:util';
import { PeerMissingError } from '../guests/guest-peer.ts';
import { runInBed, SilentBedError } from '../test/microvm/bed/run-in-bed.ts';
import { abortedBySignals } from './aborted-by-signals.ts';

const USAGE = 'npm run nested -- [--seconds N] [--cpus N] [--timing] COMMAND [WORD...]';

async function main(args: string[]): Promise<number> {
  const first = args.findIndex((word, i) => !word.startsWith('-') && !/^--(seconds|cpus)$/.test(args[i - 1] ?? ''));
  const { values } = parseArgs({
    args: first < 0 ? args : args.slice(0, first),
    options: {
      seconds: { type: 'string', default: '300' },
      cpus: { type: 'string', default: '1' },
      timing: { type: 'boolean', default: false },
    },
  });
  if (first < 0) {
    console.error(USAGE);
    return 2;
  }
  const report = await runInBed(args.slice(first), {
    cpus: Number(values.cpus),
    onLine: console.log,
    note: console.error,
    signal: AbortSignal.any([abortedBySignals(), AbortSignal.timeout(Number(values.seconds) * 1000)]),
  });
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  const { imageMs, bootMs, totalMs } = report;
  if (values.timing)
    console.error(`image ${seconds(imageMs)}, boot ${seconds(bootMs)}, all together ${seconds(totalMs)}`);
  return report.exitCode ?? 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const isExpected = error instanceof PeerMissingError || error instanceof SilentBedError;
  if (!isExpected && !['AbortError', 'TimeoutError'].includes((error as Error).name)) throw error;
  console.error((error as Error).message);
  process.exitCode = 1;
}
