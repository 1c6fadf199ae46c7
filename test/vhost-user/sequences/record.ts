// test/vhost-user/sequences: records the messages of a VMM to a back end. Run by hand; see README.md.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bootDisk } from './boot-disk.ts';
import { recordedInitramfs } from './recorded-guest.ts';
import { RecordedMachine } from './recorded-machine.ts';
import type { Recording } from './recording.ts';
import { withRingUse } from './ring-use.ts';
import { offeredIn, qemuIoScenarios, qemuScenarios, type Scenario, umlScenarios } from './scenarios.ts';
import { qemu, qemuIo, userModeLinux, type Vmm } from './vmm.ts';

const USAGE = 'usage: record.ts --qemu PROGRAM | --uml PROGRAM | --qemu-io PROGRAM [SCENARIO...]';
const PATIENCE_MS = 240_000;

async function record(vmm: Vmm, name: string, scenario: Scenario): Promise<Recording> {
  const { queues = 1, options } = scenario;
  const offered = offeredIn(scenario);
  const own = options?.(vmm.version) ?? {};
  const initramfs = await recordedInitramfs(vmm.modules);
  const disk = own.fromDisk ? { image: await bootDisk(vmm.kernelImage as string, initramfs) } : {};
  await using machine = await RecordedMachine.start(vmm, initramfs, { queues, offered, ...own, ...disk });
  const timer = setTimeout(() => {
    console.error(JSON.stringify(machine.recorder.steps.slice(-20), undefined, 1));
    console.error(`${name}: not done in ${PATIENCE_MS / 1000} s`);
    process.exit(1);
  }, PATIENCE_MS);
  await scenario.run(machine);
  clearTimeout(timer);
  const { commands, kernel, recorder } = machine;
  const { summary } = scenario;
  const shown = `0x${offered.toString(16)}`;
  return {
    vmm: vmm.version,
    scenario: name,
    summary,
    commands,
    kernel,
    offered: shown,
    steps: withRingUse(recorder.steps),
  };
}

interface Choice {
  readonly vmm: Vmm;
  readonly scenarios: Readonly<Record<string, Scenario>>;
}

async function choose(): Promise<Choice | undefined> {
  if (values.qemu) return { vmm: await qemu(values.qemu), scenarios: qemuScenarios };
  if (values.uml) return { vmm: userModeLinux(values.uml), scenarios: umlScenarios };
  if (values['qemu-io']) return { vmm: qemuIo(values['qemu-io']), scenarios: qemuIoScenarios };
  return undefined;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const { values, positionals } = parseArgs({
  options: { qemu: { type: 'string' }, uml: { type: 'string' }, 'qemu-io': { type: 'string' } },
  allowPositionals: true,
});
const chosen = await choose();
if (chosen === undefined) {
  console.error(USAGE);
  process.exit(2);
}
const { vmm, scenarios } = chosen;
const folder = join(import.meta.dirname, vmm.folder);
mkdirSync(folder, { recursive: true });
for (const name of positionals.length > 0 ? positionals : Object.keys(scenarios)) {
  const scenario = scenarios[name];
  if (scenario === undefined) throw new Error(`no scenario ${name}: ${Object.keys(scenarios).join(', ')}`);
  const recording = await record(vmm, name, scenario);
  const file = join(folder, `${name}.json`);
  writeFileSync(file, JSON.stringify(recording));
  const biome = join(import.meta.dirname, '../../../node_modules/@biomejs/biome/bin/biome');
  execFileSync(process.execPath, [biome, 'format', '--write', file], { stdio: 'ignore' });
  console.log(`${file}: ${recording.steps.length} steps`);
}
process.exit(0);
