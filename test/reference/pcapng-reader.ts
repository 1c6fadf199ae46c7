// test/reference: reads a pcapng file, by the draft of the format and not by the code that writes it.
import assert from 'node:assert/strict';

/** A frame in a file. */
export interface RecordedFrame {
  readonly frame: Uint8Array;
  readonly direction: 'in' | 'out';
  readonly ns: bigint;
}

export interface Recording {
  readonly frames: readonly RecordedFrame[];
  /** Of the interface statistics block, if there is one. */
  readonly counts: { readonly received: bigint; readonly dropped: bigint } | undefined;
}

type Options = ReadonlyMap<number, Buffer>;

/** Throws AssertionError where the file is not as the format wants it. */
export function readPcapng(file: Buffer): Recording {
  const frames: RecordedFrame[] = [];
  let counts: Recording['counts'];
  const types: number[] = [];
  for (let at = 0; at < file.length; ) {
    const [type, total] = [file.readUInt32LE(at), file.readUInt32LE(at + 4)];
    assert.ok(total % 4 === 0 && at + total <= file.length, `a block of ${total} bytes at ${at} of ${file.length}`);
    assert.equal(file.readUInt32LE(at + total - 4), total, 'the length is repeated at the end');
    const body = file.subarray(at + 8, at + total - 4);
    if (types.length === 0) checkSection(type, body);
    else if (types.length === 1) checkInterface(type, body);
    else if (type === 6) frames.push(frameOf(body));
    else {
      assert.equal(type, 5);
      const options = optionsAt(body, 12);
      const [received, dropped] = [4, 5].map((code) => options.get(code)?.readBigUInt64LE());
      counts = { received: received as bigint, dropped: dropped as bigint };
    }
    types.push(type);
    at += total;
  }
  assert.ok(types.length >= 2);
  return { frames, counts };
}

function checkSection(type: number, body: Buffer): void {
  assert.deepEqual([type, body.readUInt32LE(0)], [0x0a0d0d0a, 0x1a2b3c4d], 'section header, byte order');
  assert.deepEqual([body.readUInt16LE(4), body.readUInt16LE(6), body.readBigInt64LE(8)], [1, 0, -1n]);
  optionsAt(body, 16);
}

function checkInterface(type: number, body: Buffer): void {
  assert.deepEqual([type, body.readUInt16LE(0), body.readUInt32LE(4)], [1, 1, 0], 'Ethernet, all bytes are kept');
  assert.deepEqual([...(optionsAt(body, 8).get(9) ?? [])], [9], 'if_tsresol: nanoseconds');
}

function frameOf(body: Buffer): RecordedFrame {
  const [id, high, low, kept, whole] = [0, 4, 8, 12, 16].map((at) => body.readUInt32LE(at)) as number[];
  assert.equal(id, 0);
  assert.equal(kept, whole);
  const flags =
    optionsAt(body, 20 + (((kept as number) + 3) & ~3))
      .get(2)
      ?.readUInt32LE() ?? 0;
  assert.ok(flags === 1 || flags === 2, `direction ${flags}`);
  return {
    frame: Uint8Array.from(body.subarray(20, 20 + (kept as number))),
    direction: flags === 1 ? 'in' : 'out',
    ns: (BigInt(high as number) << 32n) | BigInt(low as number),
  };
}

function optionsAt(body: Buffer, start: number): Options {
  const options = new Map<number, Buffer>();
  for (let at = start; at < body.length; ) {
    const [code, length] = [body.readUInt16LE(at), body.readUInt16LE(at + 2)];
    if (code === 0) {
      assert.equal(at + 4, body.length, 'nothing follows the end of options');
      return options;
    }
    options.set(code, body.subarray(at + 4, at + 4 + length));
    at += 4 + ((length + 3) & ~3);
  }
  throw new Error('options without an end');
}
