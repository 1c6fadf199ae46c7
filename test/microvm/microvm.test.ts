// test/microvm: the tests of test/microvm/inside, and in a bed those of test/kvm, one by one as they came out.
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { test } from 'node:test';
import { PeerMissingError } from '../../guests/guest-peer.ts';
import { STOOD_STILL } from './bed/run-in-bed.ts';
import type { InsideResult } from './inside-report.ts';
import { isKvmReal, runInside } from './run-inside.ts';

const TIMEOUT_MS = 14 * 60_000;

test('on real KVM code', { timeout: TIMEOUT_MS + 30_000 }, async (t) => {
  const lines: string[] = [];
  let results: readonly InsideResult[] = [];
  try {
    const fetch = process.env.BELFRY_NO_APT !== '1';
    const onProgress = (text: string): void => void lines.push(text);
    results = await runInside({ timeoutMs: TIMEOUT_MS, fetch, onProgress, signal: t.signal });
  } catch (error) {
    if (!(error instanceof PeerMissingError)) throw error;
    return t.skip(`peer missing: ${error.message}`);
  }
  assert.ok(results.length > 0, lines.join('\n'));
  for (const { file, name, outcome, detail } of results) {
    const skip = outcome === 'skipped' ? detail : false;
    await t.test(`${file}: ${name}`, { skip }, () => assert.notEqual(outcome, 'failed', detail));
  }
  // Another bed took over, or the tests above say why not; what the first one said of itself is not to be lost.
  for (const skip of lines.filter((line) => line.startsWith(STOOD_STILL)))
    await t.test('a bed that did not stand still', { skip }, () => {});
  const peersFile = process.env.BELFRY_PEERS_FILE;
  if (peersFile) appendFileSync(peersFile, `${isKvmReal() ? '' : 'qemu\n'}qemu-storage-daemon\n`);
});
