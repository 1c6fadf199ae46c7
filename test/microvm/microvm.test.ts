// test/microvm: the tests of test/microvm/inside, and in a bed those of test/kvm, one by one as they come out.
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { test } from 'node:test';
import { PeerMissingError } from '../../guests/guest-peer.ts';
import { tellProgress } from '../progress.ts';
import { STOOD_STILL } from './bed/run-in-bed.ts';
import type { InsideResult } from './inside-report.ts';
import { isKvmReal, runInside } from './run-inside.ts';

test('on real KVM code', async (t) => {
  const lines: string[] = [];
  const onProgress = (text: string, isNews: boolean): void => {
    lines.push(text);
    tellProgress(text, isNews);
  };
  let told: Promise<unknown> = Promise.resolve();
  const onResult = ({ file, name, outcome, detail }: InsideResult): void => {
    const skip = outcome === 'skipped' ? detail : false;
    told = told.then(() => t.test(`${file}: ${name}`, { skip }, () => assert.notEqual(outcome, 'failed', detail)));
  };
  let count = 0;
  try {
    const fetch = process.env.BELFRY_NO_APT !== '1';
    const note = (line: string): void => onProgress(line, true);
    count = (await runInside({ fetch, note, onProgress, onResult, signal: t.signal })).length;
  } catch (error) {
    if (!(error instanceof PeerMissingError)) throw error;
    return t.skip(`peer missing: ${error.message}`);
  }
  await told;
  assert.ok(count > 0, lines.join('\n'));
  // Another bed took over, or the tests above say why not; what the first one said of itself is not to be lost.
  for (const skip of lines.filter((line) => line.includes(STOOD_STILL)))
    await t.test('a bed that did not stand still', { skip }, () => {});
  const peersFile = process.env.BELFRY_PEERS_FILE;
  if (peersFile) appendFileSync(peersFile, `${isKvmReal() ? '' : 'qemu\n'}qemu-storage-daemon\n`);
});
