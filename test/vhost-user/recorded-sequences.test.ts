// test/vhost-user: the message sequences of real VMMs, as recorded in sequences/, against a disk of Belfry.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BackEnd, makeDisk, serveDevice } from './back-end.ts';
import { recordings } from './sequences/recording.ts';
import { NotOffered, Replay } from './sequences/replay.ts';
import { WitnessedDisk } from './sequences/witnessed-disk.ts';

const files = recordings();

test('every VMM of the table in sequences/README.md is there', () => {
  const vmms = new Set(files.map(({ name }) => name.split('/')[0]));
  assert.deepEqual([...vmms], ['qemu-10.0', 'qemu-7.2', 'qemu-io-10.0', 'user-mode-linux-6.1']);
});

for (const busy of [false, true]) {
  for (const { name, recording } of files) {
    test(`${name}${busy ? ', with requests in flight' : ''}: ${recording.summary}`, async (t) => {
      const disk = new WitnessedDisk({ slow: busy });
      let backEnd: BackEnd | undefined;
      const start = (): string => {
        backEnd ??= serveDevice(makeDisk(disk.store));
        return backEnd.path;
      };
      const end = async (): Promise<void> => {
        await backEnd?.[Symbol.asyncDispose]();
        backEnd = undefined;
      };
      using replay = new Replay({ recording, disk, start, end, busy });
      try {
        assert.deepEqual(await replay.run(), []);
      } catch (error) {
        if (!(error instanceof NotOffered)) throw error;
        t.skip(error.message);
      } finally {
        replay[Symbol.dispose]();
        await end();
      }
    });
  }
}
