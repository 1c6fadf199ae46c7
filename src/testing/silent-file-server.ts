// testing: the program of silent-file-system.ts: a FUSE server of one file that answers only three requests.
// fuse(4).
import { spawnSync } from 'node:child_process';
import { openSync, readSync, writeSync } from 'node:fs';
import { FUSE_INIT, FUSE_LOOKUP, FUSE_OPEN } from './silent-file-system.ts';

const [HEADER_BYTES, NODE_ID, SECONDS] = [16, 2n, 1000n];
const FILE_MODE = 0o100644n;
const SIZE_BYTES = 8192n;

const folder = process.argv[2] as string;
const device = openSync('/dev/fuse', 'r+');
const options = `fd=3,rootmode=40000,user_id=${process.getuid?.()},group_id=${process.getgid?.()}`;
const mount = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'silent', folder], {
  stdio: ['ignore', 'inherit', 'inherit', device],
});
if (mount.status !== 0) process.exit(1);

/** A reply without its header, in words of 64 bits. */
type Reply = BigUint64Array<ArrayBuffer>;

/** struct fuse_attr { u64 ino, size, blocks, times[3]; u32 nsec[3], mode, nlink, uid, gid, rdev, blksize, flags } */
const ATTRIBUTES = [NODE_ID, SIZE_BYTES, 0n, 0n, 0n, 0n, 0n, FILE_MODE << 32n, 1n, 0n, 4096n];

function replyTo(opcode: number): Reply | undefined {
  switch (opcode) {
    case FUSE_INIT: // struct fuse_init_out { u32 major 7, minor 31, … u32 max_write @20 … } of 64 bytes
      return BigUint64Array.of(7n | (31n << 32n), 0n, 65536n << 32n, 0n, 0n, 0n, 0n, 0n);
    case FUSE_LOOKUP: // struct fuse_entry_out
      return BigUint64Array.of(NODE_ID, 0n, SECONDS, SECONDS, 0n, ...ATTRIBUTES);
    case FUSE_OPEN: // struct fuse_open_out
      return new BigUint64Array(2);
    default:
      return undefined;
  }
}

const request = new Uint8Array(1 << 17);
const view = new DataView(request.buffer);
for (;;) {
  // struct fuse_in_header { u32 len, opcode; u64 unique, nodeid; … }
  readSync(device, request);
  const opcode = view.getUint32(4, true);
  process.stdout.write(`${opcode}\n`);
  const reply = replyTo(opcode);
  if (reply === undefined) continue;
  const bytes = new Uint8Array(HEADER_BYTES + reply.byteLength);
  new DataView(bytes.buffer).setUint32(0, bytes.length, true);
  new DataView(bytes.buffer).setBigUint64(8, view.getBigUint64(8, true), true);
  bytes.set(new Uint8Array(reply.buffer), HEADER_BYTES);
  writeSync(device, bytes);
}
