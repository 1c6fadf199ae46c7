// test/vhost-user/sequences: the VMMs that are recorded: how each is found, what it is called, and its command line.
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findDebianKernel } from '../../../guests/debian-kernel.ts';
import { type KernelModule, kernelModules } from '../../../guests/kernel-modules.ts';

export interface VmmBoot {
  readonly socket: string;
  readonly queues: number;
  /** More words for the command line, of QEMU only. */
  readonly more?: readonly string[];
  /** More properties of the chardev and of the device, of QEMU only: `,bootindex=0`. */
  readonly chardev?: string;
  readonly device?: string;
  /** No kernel on the command line: the firmware is to find one on the disk. */
  readonly fromDisk?: boolean;
}

export interface Vmm {
  readonly program: string;
  /** In a recording, where no path of a machine belongs. */
  readonly shownAs: string;
  /** `qemu-7.2`: the folder of its recordings. */
  readonly folder: string;
  readonly version: string;
  readonly kernelImage?: string;
  readonly modules: readonly KernelModule[];
  words(boot: VmmBoot): string[];
}

const MEMORY = '128M';

/** QEMU at `program`, with a stock Debian kernel. Throws when either is missing. */
export async function qemu(program: string): Promise<Vmm> {
  const said = execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? '';
  const version = said.replace('QEMU emulator version ', 'QEMU ');
  const kernel = await findDebianKernel(['virtio_pci', 'virtio_blk'], {});
  return {
    program,
    shownAs: 'qemu-system-x86_64',
    folder: `qemu-${/\d+\.\d+/.exec(version)?.[0]}`,
    version,
    kernelImage: kernel.image,
    modules: kernel.modules,
    words: ({ socket, queues, more = [], chardev = '', device = '', fromDisk = false }) => [
      ...['-accel', 'tcg,thread=single', '-machine', 'pc,memory-backend=memory', '-cpu', 'max'],
      ...['-smp', `${queues}`, '-m', MEMORY],
      ...['-object', `memory-backend-memfd,id=memory,size=${MEMORY},share=on`],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio'],
      ...['-qmp', 'unix:qmp.sock,server=on,wait=off'],
      ...(fromDisk ? [] : ['-kernel', 'vmlinuz', '-initrd', 'initramfs', '-append', `${KERNEL_WORDS} console=ttyS0`]),
      ...['-chardev', `socket,id=disk,path=${socket}${chardev}`],
      ...['-device', `vhost-user-blk-pci,id=disk0,chardev=disk,num-queues=${queues}${device}`],
      ...more,
    ],
  };
}

export const KERNEL_WORDS = 'quiet panic=-1';

/** User-Mode Linux at `program`, with the modules Debian has for it. */
export function userModeLinux(program: string): Vmm {
  const release = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  const folder = '/usr/lib/uml/modules';
  const modulesFolder = join(folder, readdirSync(folder).sort().at(-1) as string);
  return {
    program,
    shownAs: 'linux.uml',
    folder: `user-mode-linux-${/\d+\.\d+/.exec(release)?.[0]}`,
    version: `User-Mode Linux ${release}`,
    modules: kernelModules(modulesFolder, ['virtio_uml', 'virtio_blk']),
    words: ({ socket }) => [
      ...['mem=96M', 'initrd=initramfs', `virtio_uml.device=${socket}:2`, 'con=null', 'con0=fd:0,fd:1'],
      ...['uml_dir=.', 'quiet', 'initcall_blacklist=raid6_select_algo'],
    ],
  };
}

/** qemu-io at `program`: libblkio is its front end, there is no guest, and commands come on standard input. */
export function qemuIo(program: string): Vmm {
  const said = execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? '';
  const version = said.replace('qemu-io version ', 'qemu-io ');
  return {
    program,
    shownAs: 'qemu-io',
    folder: `qemu-io-${/\d+\.\d+/.exec(version)?.[0]}`,
    version: `${version}, libblkio`,
    modules: [],
    words: ({ socket }) => ['--image-opts', `driver=virtio-blk-vhost-user,path=${socket},cache.direct=on`],
  };
}
