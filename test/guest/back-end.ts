// test/guest: starts the daemon a guest test talks to: ours, or qemu-storage-daemon to tell whose fault a failure is.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, patience } from '../../src/testing/patience.ts';

export interface BackEndOptions {
  /** An image file, or `mem:` and a size in MiB with its M. */
  readonly store: string;
  /** Where sockets go. */
  readonly folder: string;
  readonly readOnly?: boolean;
  readonly serial?: string;
  readonly blockSizeBytes?: number;
  /** Whose daemon; what BELFRY_TEST_BACK_END names when absent. */
  readonly program?: 'belfry' | 'qemu-storage-daemon';
  /** One of its own in `folder` when absent. */
  readonly socketPath?: string;
}

/** A running daemon. Disposing of it kills it; `stop` is the way that is tested. */
export interface BackEnd extends AsyncDisposable {
  readonly socketPath: string;
  /** The serial number the guest has to see. */
  readonly serial: string;
  /** SIGTERM; fails unless the daemon exits with code 0 and takes its socket away. */
  stop(): Promise<void>;
}

interface Daemon {
  readonly file: string;
  readonly words: readonly string[];
  readonly serial: string;
}

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const DEFAULT_SERIAL = 'belfry-guest-test';
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;
let started = 0;

/** Starts the daemon asked for, or the one BELFRY_TEST_BACK_END names, or `belfry`, and waits until its socket listens. */
export async function startBackEnd(options: BackEndOptions): Promise<BackEnd> {
  const socketPath = options.socketPath ?? join(options.folder, `disk-${++started}.sock`);
  const program = options.program ?? process.env.BELFRY_TEST_BACK_END;
  const daemon =
    program === 'qemu-storage-daemon' ? await storageDaemon(options, socketPath) : ours(options, socketPath);
  const child = spawn(daemon.file, daemon.words, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = collect(child);
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  let wanted = false;
  void exited.then(([code, signal]) => {
    if (!wanted) console.error(`the daemon ended by itself (${code ?? signal}):\n${output()}`);
  });
  await eventually(
    `the daemon listens at ${socketPath}`,
    () => {
      assert.equal(child.exitCode, null, `the daemon ended before it listened:\n${output()}`);
      return isListening(socketPath);
    },
    START_LIMIT_MS,
  );
  return {
    socketPath,
    serial: daemon.serial,
    async stop() {
      wanted = true;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), patience(STOP_LIMIT_MS));
      const [code, signal] = await exited;
      clearTimeout(timer);
      assert.deepEqual([code, signal], [0, null], `the daemon did not stop cleanly:\n${output()}`);
      await assert.rejects(readFile(socketPath), { code: 'ENOENT' }, 'the daemon left its socket behind');
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      wanted = true;
      child.kill('SIGKILL');
      await exited;
    },
  };
}

function ours(options: BackEndOptions, socketPath: string): Daemon {
  const serial = options.serial ?? DEFAULT_SERIAL;
  const words = ['serve', 'blk', options.store, '--socket', socketPath, '--serial', serial, '--quiet'];
  if (options.readOnly) words.push('--read-only');
  if (options.blockSizeBytes) words.push('--block-size', `${options.blockSizeBytes}`);
  return { file: join(REPOSITORY, 'belfry'), words, serial };
}

async function storageDaemon(options: BackEndOptions, socketPath: string): Promise<Daemon> {
  const image = options.store.startsWith('mem:') ? join(options.folder, `memory-${started}.img`) : options.store;
  if (image !== options.store) {
    await writeFile(image, '');
    await truncate(image, Number.parseInt(options.store.slice('mem:'.length), 10) * 2 ** 20);
  }
  const readOnly = options.readOnly ? 'on' : 'off';
  const block = `driver=file,node-name=disk,filename=${image},discard=unmap,read-only=${readOnly}`;
  const target = `type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=${socketPath}`;
  const blockSizeBytes = options.blockSizeBytes ?? 512;
  const shape = `writable=${options.readOnly ? 'off' : 'on'},num-queues=4,logical-block-size=${blockSizeBytes}`;
  const words = ['--blockdev', block, '--export', `${target},${shape}`];
  return { file: 'qemu-storage-daemon', words, serial: 'vhost_user_blk' };
}

function collect(child: ChildProcess): () => string {
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text) => chunks.push(text));
  return () => chunks.join('');
}

/** Whether somebody listens at the socket: connecting would be a first client, the kernel's table tells it (__SO_ACCEPTCON) without one. */
export async function isListening(socketPath: string): Promise<boolean> {
  const table = await readFile('/proc/net/unix', 'utf8');
  return table.split('\n').some((line) => line.endsWith(` ${socketPath}`) && line.split(' ')[3] === '00010000');
}

/** An empty image of `sizeMiB` in `folder`. */
export async function makeImage(folder: string, sizeMiB: number): Promise<string> {
  const image = join(folder, 'disk.img');
  await rm(image, { force: true });
  await writeFile(image, '');
  await truncate(image, sizeMiB * 2 ** 20);
  return image;
}
