// Folders of helper processes that have ended are removed; those of running and of starting ones stay.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { removeStaleFolders } from './stale-folders.ts';

test('regression: the folder of a passt that outlived its command is removed once it has ended', () => {
  const parent = mkdtempSync(join(tmpdir(), 'stale-folders-'));
  try {
    const make = (name: string, pid?: number): void => {
      mkdirSync(join(parent, name));
      if (pid !== undefined) writeFileSync(join(parent, name, 'pid'), `${pid}\n`);
    };
    const ended = spawnSync('true').pid;
    make('p-ended', ended);
    make('p-running', process.pid);
    make('p-starting');
    make('other', ended);
    removeStaleFolders(parent, 'p-');
    assert.deepEqual(readdirSync(parent).sort(), ['other', 'p-running', 'p-starting']);
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
});
