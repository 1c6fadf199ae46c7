// doctor: which commands can be used here, by the findings, and with what, or why not.
import type { Finding, FindingGroup } from './finding.ts';

export interface Verdict {
  readonly command: string;
  readonly can: boolean;
  /** With what it works, or why it does not; may be ''. */
  readonly why: string;
}

/** Returns a verdict on each command, in the order in which users try them. */
export function verdictOn(groups: readonly FindingGroup[]): Verdict[] {
  const findings = groups.flatMap((group) => group.findings);
  const node = find(findings, 'Node');
  const commands = ['demo', 'shell', 'serve', 'bench', 'run', 'doorbell'];
  if (node?.state !== 'ok') return commands.map((command) => no(command, 'this Node cannot run Belfry'));
  const linux = guestsHere(findings);
  return [
    yes('demo', linux === '' ? 'with our own driver side, no Linux' : `with ${linux}`),
    linux === '' ? no('shell', 'neither User-Mode Linux nor QEMU is here') : yes('shell', `with ${linux}`),
    memoryVerdict('serve', findings),
    memoryVerdict('bench', findings),
    ...kvmVerdicts(find(findings, 'kvm')),
  ];
}

/** The guests that can be booted; a kernel for QEMU is downloaded where there is none. */
function guestsHere(findings: readonly Finding[]): string {
  const names = { 'user-mode-linux': 'User-Mode Linux', qemu: 'QEMU' };
  return Object.entries(names)
    .filter(([name]) => find(findings, name)?.state === 'ok')
    .map(([, title]) => title)
    .join(' or ');
}

function memoryVerdict(command: string, findings: readonly Finding[]): Verdict {
  const memfd = find(findings, 'memfd');
  return memfd?.state === 'ok' ? yes(command, '') : no(command, `no memory to share: ${memfd?.found}`);
}

/** The guests of `doorbell` are a few instructions and run anywhere; a stock kernel needs virtualization extensions. */
function kvmVerdicts(kvm: Finding | undefined): Verdict[] {
  const commands = ['run', 'doorbell'];
  if (kvm?.state !== 'ok') return commands.map((command) => no(command, kvm?.found ?? 'no kvm'));
  const isSoftware = kvm.found.includes('a software implementation');
  const run = isSoftware ? no('run', 'a stock Linux may not boot: kvm is software here') : yes('run', '');
  return [run, yes('doorbell', isSoftware ? 'its figures are those of software' : '')];
}

function find(findings: readonly Finding[], name: string): Finding | undefined {
  return findings.find((finding) => finding.name === name);
}

function yes(command: string, why: string): Verdict {
  return { command, can: true, why };
}

function no(command: string, why: string): Verdict {
  return { command, can: false, why };
}
