// test/cli: `doctor`: every finding has a state, a use, and advice where something is missing.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FindingGroup } from '../../doctor/finding.ts';
import type { Verdict } from '../../doctor/verdict.ts';
import { belfry, testFolder } from './belfry-process.ts';
import { isHere } from './guests-here.ts';

const EXPECTED = ['Node', 'processors', 'wake-up', 'kvm', 'memfd', '/dev/shm', 'hugepages', 'io_uring', 'open files'];
const PROGRAMS = ['user-mode-linux', 'qemu', 'cloud-hypervisor', 'crosvm', 'firecracker', 'qemu-storage-daemon', 'fio'];

async function findings(env: Readonly<Record<string, string>> = {}): Promise<FindingGroup['findings']> {
  const { code, stdout, stderr } = await belfry(['doctor', '--json'], { env });
  assert.deepEqual([code, stderr], [0, '']);
  return (JSON.parse(stdout) as { groups: FindingGroup[] }).groups.flatMap((group) => group.findings);
}

test('doctor --json prints every field of every finding', async () => {
  const all = await findings();
  const names = all.map(({ name }) => name);
  for (const name of [...EXPECTED, ...PROGRAMS]) assert.ok(names.includes(name), `${name} is missing`);
  for (const { name, state, found, goodFor, advice } of all) {
    assert.ok(['ok', 'absent', 'broken'].includes(state), name);
    assert.ok(found !== '' && goodFor !== '', `${name} says nothing`);
    assert.ok(state === 'ok' || advice !== '', `${name} does not say how to get it`);
  }
  assert.equal(all.find(({ name }) => name === 'Node')?.state, 'ok');
});

test('doctor prints a symbol for each finding and no colours into a pipe, whatever $CI is', async () => {
  const { code, stdout } = await belfry(['doctor'], { env: { CI: 'true' } });
  assert.equal(code, 0);
  assert.match(stdout, /^ {2}✓ Node +\d+\.\d+\.\d+ with node:ffi/m);
  assert.match(stdout, /^ {2}[✓–✗] kvm /m);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no colours in a pipe is what is tested.
  assert.doesNotMatch(stdout, /\x1b/);
});

test('regression: doctor ends with a verdict on every command, as JSON too', async () => {
  const { stdout } = await belfry(['doctor', '--json']);
  const { verdict } = JSON.parse(stdout) as { verdict: Verdict[] };
  assert.deepEqual(
    verdict.map(({ command }) => command),
    ['demo', 'shell', 'serve', 'bench', 'run', 'doorbell'],
  );
  for (const { command, can, why } of verdict) assert.ok(can || why !== '', `${command}: why not?`);
  const text = (await belfry(['doctor'])).stdout;
  assert.match(text, /\n\n✓ You can: demo \(with [^)]+\), [\s\S]*\.\n(?:– Not here: [\s\S]*\.\n)?$/);
});

for (const columns of [60, 80, 120]) {
  test(`regression: doctor fits ${columns} columns`, async () => {
    const { stdout } = await belfry(['doctor'], { env: { COLUMNS: `${columns}` } });
    // A path or an address cannot be broken.
    for (const line of stdout.split('\n'))
      assert.ok(line.length <= columns || !line.trim().includes(' '), `${line.length}: ${line}`);
  });
}

test('the start of User-Mode Linux is measured, and one that does not run is reported as broken', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const found = async (env: Readonly<Record<string, string>>) =>
    (await findings(env)).find(({ name }) => name === 'user-mode-linux');
  const here = await found({});
  assert.equal(here?.state, 'ok', `${here?.found}`);
  assert.match(here?.found ?? '', /its kernel started in \d+\.\d s$/);
  const folder = testFolder(t);
  writeFileSync(join(folder, 'linux.uml'), "#!/bin/sh\necho 'ptrace: Operation not permitted' >&2; exit 1\n");
  chmodSync(join(folder, 'linux.uml'), 0o755);
  const broken = await found({ PATH: `${folder}:${process.env.PATH}` });
  assert.deepEqual([broken?.state, broken?.advice !== ''], ['broken', true]);
  assert.match(broken?.found ?? '', /does not run: ptrace: Operation not permitted$/);
});

test('doctor survives a program that hangs, and finds the version of the others', async (t) => {
  const folder = testFolder(t);
  const scripts = { crosvm: 'sleep 60', firecracker: "echo 'Firecracker v1.13.1'", spdk_tgt: 'exit 3' };
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  const all = await findings({ PATH: `${folder}:${process.env.PATH}` });
  const foundOf = (name: string): string | undefined => all.find((finding) => finding.name === name)?.found;
  assert.equal(foundOf('crosvm'), join(folder, 'crosvm'));
  assert.equal(foundOf('firecracker'), `1.13.1 (${join(folder, 'firecracker')})`);
  assert.equal(foundOf('spdk'), join(folder, 'spdk_tgt'));
});
