// npm run test:kvm: the microVM and the kernel's rules on real KVM code, with a line for every test as it ends.
import { PeerMissingError } from '../guests/guest-peer.ts';
import { runInside } from '../test/microvm/run-inside.ts';
import { abortedBySignals } from './aborted-by-signals.ts';

async function main([only]: readonly string[]): Promise<number> {
  const begin = performance.now();
  const onProgress = (text: string): void => {
    console.log(`${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s  ${text}`);
  };
  const options = { onProgress, note: onProgress, signal: abortedBySignals() };
  const results = await runInside(only === undefined ? options : { ...options, only });
  const count = (wanted: string): number => results.filter(({ outcome }) => outcome === wanted).length;
  console.log(`\n${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
  return count('failed') > 0 || results.length === 0 ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { name, message } = error as Error;
  const isMissing = error instanceof PeerMissingError;
  if (!isMissing && name !== 'AbortError') throw error;
  console.error(isMissing ? `skipped: ${message}` : message);
  process.exitCode = isMissing && process.env.CI !== 'true' ? 0 : 1;
}
