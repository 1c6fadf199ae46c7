// cli: how to start a virtual machine on a socket: for each VMM a command line that a shell can run unchanged.
import { accessSync, constants } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { softwareKvm } from '../../doctor/kvm.ts';
import { shellFiles } from '../../guests/shell-files.ts';
import { umlCanOpen, umlWords } from '../../guests/uml-words.ts';
import { VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE, VIRTIO_ID_ENTROPY, VIRTIO_ID_NET } from '../virtio/spec.ts';
import { commandName } from './command-name.ts';
import { shellWord } from './shell-word.ts';

export interface StartLine {
  readonly vmm: string;
  readonly line: string;
}

const MEMORY_MIB = 256;
const MEMORY = `${MEMORY_MIB}M`;

/**
 * QEMU's device at the chardev `dev`, by its type. QEMU has no vhost-user console. Without KVM, QEMU 7.2 of Debian 12 ends
 * with SIGSEGV when it starts a vhost-user network card with MSI-X: hence no vectors.
 */
const QEMU_DEVICES: Readonly<Record<number, string>> = {
  [VIRTIO_ID_BLOCK]: 'vhost-user-blk-pci,chardev=dev',
  [VIRTIO_ID_ENTROPY]: 'vhost-user-rng-pci,chardev=dev',
  [VIRTIO_ID_NET]: 'virtio-net-pci,netdev=net,vectors=0 -netdev vhost-user,id=net,chardev=dev',
};

/** A parameter of the kernel command line: the guest waits for no disk. */
const NO_DISK = 'disks=0';

/**
 * Returns commands that boot a Linux with the device: a disk as /dev/vda, a console as /dev/hvc0, an entropy source as
 * /dev/hwrng, a network card as eth0; none for a device of another type. Where a kernel or a program is missing, the command installs it.
 */
export function startLines(socket: string, type = VIRTIO_ID_BLOCK): readonly StartLine[] {
  const path = resolve(socket);
  if (type === VIRTIO_ID_BLOCK) return diskLines(path);
  // The guests are Debian's, for x86-64, as with disks.
  if (process.arch !== 'x64') return [];
  // Debian's User-Mode Linux has a driver for a console, and none for an entropy source.
  if (type === VIRTIO_ID_CONSOLE)
    return umlCanOpen(path) ? [{ vmm: 'User-Mode Linux', line: userModeLinux(path, type) }] : [];
  if (type === VIRTIO_ID_NET)
    return grouped([
      ...(umlCanOpen(path) ? [{ vmm: 'User-Mode Linux', line: userModeLinux(path, type) }] : []),
      { vmm: 'QEMU', line: qemu(path, type) },
    ]);
  return type === VIRTIO_ID_ENTROPY ? [{ vmm: 'QEMU', line: qemu(path, type) }] : [];
}

/** The shell of this program first, then the VMMs. */
function diskLines(path: string): readonly StartLine[] {
  // The guests that are found or fetched are Debian's, for x86-64.
  if (process.arch !== 'x64') return [{ vmm: 'QEMU', line: qemuLine(path, 'KERNEL', 'INITRD') }];
  return grouped([
    { vmm: 'shell', line: `${commandName()} shell --socket ${shellWord(path)}` },
    { vmm: 'QEMU', line: qemu(path) },
    { vmm: 'cloud-hypervisor', line: cloudHypervisor(path) },
    ...(umlCanOpen(path) ? [{ vmm: 'User-Mode Linux', line: userModeLinux(path) }] : []),
  ]);
}

/** Without a kernel the lines of all VMMs are the same. */
function grouped(lines: readonly StartLine[]): StartLine[] {
  const byLine = Map.groupBy(lines, ({ line }) => line);
  return [...byLine].map(([line, same]) => ({ vmm: same.map(({ vmm }) => vmm).join(', '), line }));
}

function qemu(socket: string, type = VIRTIO_ID_BLOCK): string {
  if (!isOnPath('qemu-system-x86_64')) return 'apt-get install qemu-system-x86';
  const files = shellFiles('qemu');
  return files === undefined ? prepareLine() : qemuLine(socket, files.kernel, files.initramfs, type);
}

/** share=on: the back end maps the memory of the guest. */
function qemuLine(socket: string, kernel: string, initramfs: string, type = VIRTIO_ID_BLOCK): string {
  const appended = type === VIRTIO_ID_BLOCK ? 'quiet' : `quiet ${NO_DISK}`;
  const [program, machine, port] =
    process.arch === 'arm64' ? ['qemu-system-aarch64', 'virt,', 'ttyAMA0'] : ['qemu-system-x86_64', '', 'ttyS0'];
  return [
    `${program} ${hasKvm() ? '-accel kvm -accel tcg ' : ''}-nographic -no-reboot -cpu max -m ${MEMORY} -machine ${machine}memory-backend=mem`,
    `-object memory-backend-memfd,id=mem,size=${MEMORY},share=on -kernel ${shellWord(kernel)} -initrd ${shellWord(initramfs)}`,
    `-append 'console=${port} ${appended}' -chardev ${shellWord(`socket,id=dev,path=${socket.replaceAll(',', ',,')}`)}`,
    `-device ${QEMU_DEVICES[type]}`,
  ].join(' ');
}

/** Whether a stock kernel runs on KVM here; without it QEMU emulates the processor. */
function hasKvm(): boolean {
  return mayUse('/dev/kvm', constants.R_OK | constants.W_OK) && softwareKvm() === undefined;
}

function cloudHypervisor(socket: string): string {
  const files = shellFiles('qemu');
  if (files === undefined) return prepareLine();
  return [
    `cloud-hypervisor --kernel ${shellWord(files.kernel)} --initramfs ${shellWord(files.initramfs)}`,
    `--cmdline 'console=ttyS0 quiet' --serial tty --console off --memory size=${MEMORY},shared=on`,
    `--disk ${shellWord(`vhost_user=on,socket=${socket}`)}`,
  ].join(' ');
}

function userModeLinux(socket: string, type = VIRTIO_ID_BLOCK): string {
  const files = shellFiles('user-mode-linux');
  if (files === undefined) return prepareLine();
  const consoles = ['con0=fd:0,fd:1'];
  const machine = { memoryMiB: MEMORY_MIB, initramfs: files.initramfs, sockets: [socket], deviceType: type, consoles };
  const words = [...umlWords(machine), ...(type === VIRTIO_ID_BLOCK ? [] : [NO_DISK])];
  return [files.kernel, ...words].map(shellWord).join(' ');
}

function prepareLine(): string {
  return `${commandName()} shell --prepare  # gets a Linux, once; then the VMM's command is here`;
}

function isOnPath(program: string): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => mayUse(join(folder, program), constants.X_OK));
}

function mayUse(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
