// doctor: whether virtual machines run on the processor here, /dev/kvm and what stands behind it.
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { libc } from '../src/sys/libc.ts';
import type { Finding } from './finding.ts';

const DEVICE = '/dev/kvm';
const KVM_GET_API_VERSION = 0xae00n;
const KVM_API_VERSION = 12;
const GOOD_FOR = 'guests at full speed; QEMU (slowly) and User-Mode Linux do without';

/** The processor's own support: Intel's, AMD's, or none that it shows. */
function extension(): 'vmx' | 'svm' | undefined {
  const flags = /^flags\s*:.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0] ?? '';
  return (['vmx', 'svm'] as const).find((name) => flags.includes(` ${name} `) || flags.endsWith(` ${name}`));
}

export function examineKvm(): Finding {
  const finding = { name: 'kvm', goodFor: GOOD_FOR };
  const hardware = process.arch === 'x64' ? extension() : 'the hypervisor extensions of arm64';
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
  if (hardware !== undefined) return { ...finding, state: 'ok', found: `${DEVICE}, by ${hardware}`, advice: '' };
  const module = existsSync('/sys/module/kvm_pvm') ? 'kvm_pvm, ' : '';
  const advice =
    'good for notifications (ioeventfd, irqfd); a stock Linux may not boot on it: use User-Mode Linux or QEMU';
  return { ...finding, state: 'ok', found: `${DEVICE}, a software implementation (${module}no vmx or svm)`, advice };
}
