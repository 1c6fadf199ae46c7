// doctor: whether virtual machines run here: /dev/kvm, and whether it is hardware or software.
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { libc } from '../src/sys/libc.ts';
import type { Finding } from './finding.ts';

const DEVICE = '/dev/kvm';
const KVM_GET_API_VERSION = 0xae00n;
const KVM_API_VERSION = 12;
const GOOD_FOR = 'guests at full speed; QEMU (slowly) and User-Mode Linux do without';

/** What distinguishes a software KVM from one that uses virtualization extensions. */
export interface KvmFacts {
  readonly arch: string;
  /** /proc/cpuinfo. */
  readonly cpuinfo: string;
  /** Whether the module kvm_pvm is loaded. */
  readonly hasPvm: boolean;
}

/** The virtualization extension of the processor: vmx, svm, or undefined. */
function extension({ arch, cpuinfo }: KvmFacts): string | undefined {
  if (arch !== 'x64') return 'the hypervisor extensions of arm64';
  const flags = /^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  return ['vmx', 'svm'].find((name) => flags.split(' ').includes(name));
}

/** Describes the software behind /dev/kvm on a processor without virtualization; undefined where it has that. */
export function softwareKvm(facts = kvmFacts()): string | undefined {
  if (extension(facts) !== undefined) return undefined;
  return `a software implementation (${facts.hasPvm ? 'kvm_pvm, ' : ''}no vmx or svm)`;
}

function kvmFacts(): KvmFacts {
  const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
  return { arch: process.arch, cpuinfo, hasPvm: existsSync('/sys/module/kvm_pvm') };
}

export function examineKvm(): Finding {
  const finding = { name: 'kvm', goodFor: GOOD_FOR };
  const hardware = extension(kvmFacts());
  if (!existsSync(DEVICE)) {
    const found =
      hardware === undefined ? `no ${DEVICE}, no vmx or svm` : `no ${DEVICE}, though the processor has ${hardware}`;
    const module = hardware === 'svm' ? 'kvm_amd' : 'kvm_intel';
    const advice =
      hardware === undefined
        ? 'switch virtualization on in the firmware; in a virtual machine, ask its host for nested virtualization'
        : `as root: modprobe ${module}; in a container, pass the device on (--device ${DEVICE})`;
    return { ...finding, state: 'absent', found, advice };
  }
  let fd: number;
  try {
    fd = openSync(DEVICE, 'r+');
  } catch (error) {
    const advice = 'as root: usermod -aG kvm YOUR_NAME, then log in again';
    return {
      ...finding,
      state: 'broken',
      found: `${DEVICE} may not be opened: ${(error as NodeJS.ErrnoException).code}`,
      advice,
    };
  }
  // SAFETY: this request takes no argument.
  const version = libc.ioctl(fd, KVM_GET_API_VERSION, 0n);
  closeSync(fd);
  if (version !== KVM_API_VERSION)
    return {
      ...finding,
      state: 'broken',
      found: `${DEVICE} does not answer as KVM does (version ${version})`,
      advice: '',
    };
  const software = softwareKvm();
  if (software === undefined) return { ...finding, state: 'ok', found: `${DEVICE}, by ${hardware}`, advice: '' };
  const advice =
    'good for notifications (ioeventfd, irqfd); a stock Linux may not boot on it: use User-Mode Linux or QEMU';
  return { ...finding, state: 'ok', found: `${DEVICE}, ${software}`, advice };
}
