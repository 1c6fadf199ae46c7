// guests: the archive writer, against the format's own rules.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CpioEntry } from './cpio.ts';
import { newcArchive } from './cpio.ts';

interface ReadRecord {
  readonly fields: readonly number[];
  readonly name: string;
  readonly content: string;
}

const MODE = 1;
const NLINK = 4;
const FILESIZE = 6;
const RDEV_MAJOR = 9;
const RDEV_MINOR = 10;
const NAMESIZE = 11;

// An independent reader: walks the records by the sizes and the padding the format prescribes.
function readArchive(archive: Uint8Array): ReadRecord[] {
  const text = new TextDecoder('latin1').decode(archive);
  const records: ReadRecord[] = [];
  for (let offset = 0; offset < text.length; ) {
    assert.equal(text.slice(offset, offset + 6), '070701', `magic at ${offset}`);
    const fields = Array.from({ length: 13 }, (_, index) => {
      const start = offset + 6 + index * 8;
      return Number.parseInt(text.slice(start, start + 8), 16);
    });
    const nameEnd = offset + 110 + fields[NAMESIZE]!;
    assert.equal(text[nameEnd - 1], '\0', 'a name ends with NUL');
    const contentStart = Math.ceil(nameEnd / 4) * 4;
    const contentEnd = contentStart + fields[FILESIZE]!;
    records.push({
      fields,
      name: text.slice(offset + 110, nameEnd - 1),
      content: text.slice(contentStart, contentEnd),
    });
    offset = Math.ceil(contentEnd / 4) * 4;
  }
  return records;
}

function file(path: string, text: string, mode = 0o644): CpioEntry {
  return { kind: 'file', path, mode, bytes: new TextEncoder().encode(text) };
}

test('an archive of nothing is the trailer alone', () => {
  const records = readArchive(newcArchive([]));
  assert.deepEqual(
    records.map((record) => record.name),
    ['TRAILER!!!'],
  );
});

test('contents and names of every length modulo four are read back whole', () => {
  const entries = Array.from({ length: 9 }, (_, length) => file('n'.repeat(length + 1), 'x'.repeat(length)));
  const records = readArchive(newcArchive(entries));
  assert.equal(records.length, entries.length + 1);
  for (const [length, record] of records.slice(0, -1).entries()) {
    assert.equal(record.name, 'n'.repeat(length + 1));
    assert.equal(record.content, 'x'.repeat(length));
  }
});

test('each kind of entry carries its type, its permissions and its numbers', () => {
  const [folder, program, link, console] = readArchive(
    newcArchive([
      { kind: 'folder', path: 'bin' },
      file('bin/sh', '#!', 0o755),
      { kind: 'link', path: 'bin/ash', target: 'sh' },
      { kind: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    ]),
  );
  assert.equal(folder!.fields[MODE], 0o040755);
  assert.equal(folder!.fields[NLINK], 2);
  assert.equal(program!.fields[MODE], 0o100755);
  assert.equal(program!.fields[NLINK], 1);
  assert.equal(link!.fields[MODE], 0o120777);
  assert.equal(link!.content, 'sh');
  assert.equal(console!.fields[MODE], 0o020600);
  assert.deepEqual([console!.fields[RDEV_MAJOR], console!.fields[RDEV_MINOR]], [5, 1]);
});

test('inode numbers differ, so that no two files are taken for links to one', () => {
  const records = readArchive(newcArchive([file('a', '1'), file('b', '2'), file('c', '3')]));
  assert.equal(new Set(records.map((record) => record.fields[0])).size, 4);
});
