// What `npm test` changes on the system: it installs packages as root, and prints their names before.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

const PROGRAM = `
  import { installPackages } from ${JSON.stringify(join(import.meta.dirname, 'peers.ts'))};
  process.getuid = () => Number(process.env.FAKE_UID);
  console.log(await installPackages(console.log));
`;

/** Runs `installPackages` with an apt-get that only records what had been printed when it was called. */
function installHere(t: TestContext, env: Readonly<Record<string, string>>): { said: string; before?: string } {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-peers-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, script] of [
    ['dpkg-query', 'echo gcc installed'],
    ['apt-get', `/bin/cp '${folder}/said' '${folder}/before'`],
  ] as const) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  const said = openSync(join(folder, 'said'), 'w');
  spawnSync(process.execPath, ['--input-type=module', '--eval', PROGRAM], {
    env: { PATH: folder, ...env },
    stdio: ['ignore', said, 'inherit'],
  });
  closeSync(said);
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  return { said: read('said'), ...(existsSync(join(folder, 'before')) && { before: read('before') }) };
}

test('regression: the names of the packages are printed before root installs them', (t) => {
  const { before } = installHere(t, { FAKE_UID: '0' });
  assert.match(before ?? '', /^apt-get installs user-mode-linux [^\n]* tcpdump; BELFRY_NO_APT=1 leaves them out\n$/);
});

for (const [who, env] of Object.entries({
  'somebody who is not root': { FAKE_UID: '1000' },
  'root with BELFRY_NO_APT=1': { FAKE_UID: '0', BELFRY_NO_APT: '1' },
})) {
  test(`${who} gets nothing installed`, (t) => {
    const { said, before } = installHere(t, env);
    assert.match(said, /^not installed \([^)]+\): user-mode-linux /);
    assert.equal(before, undefined);
  });
}
