// test/guest: what every guest test does: find the peer or skip, boot it, and look at the image from the host's side.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import type { GuestStep } from '../../guests/console-parser.ts';
import type { FetchOptions } from '../../guests/fetch-options.ts';
import type { GuestPeer } from '../../guests/guest-peer.ts';
import { PeerMissingError } from '../../guests/guest-peer.ts';
import { findExecutable } from '../../guests/guest-programs.ts';
import type { GuestReport, GuestRun } from '../../guests/run-guest.ts';
import { runGuest } from '../../guests/run-guest.ts';
import { patience } from '../../src/testing/patience.ts';
import { tellProgress } from '../progress.ts';

// What is not installed may be unpacked in the cache, unless this run may not use apt.
const fetch = process.env.BELFRY_NO_APT !== '1';

/** A guest that prints nothing for so long has stopped. */
export const silenceMs = patience(60_000);

export type FindPeer = (options: FetchOptions) => Promise<GuestPeer>;

/** A test that boots a guest; skipped with a reason where the peer, or a program for its guest, cannot be had. */
export function guestTest(
  name: string,
  find: FindPeer,
  body: (t: TestContext, peer: GuestPeer) => Promise<void>,
): void {
  test(name, async (t) => {
    try {
      await body(t, await find({ note: (line) => t.diagnostic(line), fetch }));
    } catch (error) {
      if (!(error instanceof PeerMissingError)) throw error;
      t.skip(`peer missing: ${error.message}`);
    }
  });
}

/** Boots the guest on the sockets; fails with the end of its console unless every step of the scenario succeeded. */
export async function expectGuest(t: TestContext, peer: GuestPeer, run: GuestRun): Promise<GuestReport> {
  const note = (line: string): void => t.diagnostic(line);
  const onStep = ({ name }: GuestStep): void => tellProgress(`${t.name}: ${name}`);
  const report = await runGuest(peer, { note, onStep, silenceMs, signal: t.signal, fetch, ...run });
  assert.ok(report.ok, `${report.peer}, ${report.scenario}: ${report.problem}\n${report.consoleTail.join('\n')}`);
  assert.equal(report.disks.length, run.sockets.length);
  const peersFile = process.env.BELFRY_PEERS_FILE;
  if (peersFile) appendFileSync(peersFile, `${report.peer}\n`);
  return report;
}

/** A folder for one test under `parent`: /dev/shm for files in memory, /var/tmp for files on a disk. */
export async function testFolder(t: TestContext, parent: '/dev/shm' | '/var/tmp'): Promise<string> {
  const folder = await mkdtemp(join(parent, 'belfry-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** e2fsck on the image itself, after the guest has gone: on its first partition if it has a partition table. */
export async function checkFromHost(t: TestContext, image: string, blockSizeBytes = 512): Promise<void> {
  const program = await findExecutable('e2fsck');
  if (program === undefined) return t.diagnostic('not checked from the host: e2fsck is not installed');
  const offset = (await firstPartitionSector(image)) * blockSizeBytes;
  execFileSync(program, ['-f', '-n', `${image}?offset=${offset}`], { stdio: 'pipe' });
}

const FIRST_ENTRY_LBA = 454;
const SIGNATURE = 510;

// DOS partition table: the first entry's start as a 32-bit little-endian number; 0 when there is no table.
async function firstPartitionSector(image: string): Promise<number> {
  await using file = await open(image);
  const sector = new DataView(new ArrayBuffer(512));
  await file.read(sector, 0, 512, 0);
  return sector.getUint16(SIGNATURE, true) === 0xaa55 ? sector.getUint32(FIRST_ENTRY_LBA, true) : 0;
}

/** SHA-256 of the whole image, in hexadecimal. */
export async function digestOf(image: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(image, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}
