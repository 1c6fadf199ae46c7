// guests: QEMU without hardware virtualization (TCG), booting a stock Debian kernel on vhost-user-blk-pci.
import { findDebianKernel } from './debian-kernel.ts';
import type { GuestBoot, GuestCommand, GuestPeer, PeerOptions } from './guest-peer.ts';
import { PeerMissingError, SECOND_LINE_FD } from './guest-peer.ts';
import { findExecutable } from './guest-programs.ts';

const WANTED_MODULES = ['virtio_pci', 'virtio_blk', 'ext4'];
const DEVICE_MODULES = ['virtio_console', 'virtio_rng', 'virtio_net', 'vmw_vsock_virtio_transport'];
const MAX_QUEUES = 16;

/**
 * The installed QEMU with a Debian kernel, see `findDebianKernel`.
 * Throws `PeerMissingError`, whose message says what to install.
 */
export async function findQemu(options: PeerOptions = {}): Promise<GuestPeer> {
  if (process.arch !== 'x64') throw new PeerMissingError(`the QEMU guest is for x86-64 hosts, this is ${process.arch}`);
  const program = await findExecutable('qemu-system-x86_64');
  if (program === undefined) throw new PeerMissingError('QEMU is not installed: apt-get install qemu-system-x86');
  const kernel = await findDebianKernel([...WANTED_MODULES, ...(options.withDevices ? DEVICE_MODULES : [])], options);
  return {
    name: 'qemu',
    description: `QEMU with Linux ${kernel.version} (${program}, TCG)`,
    kernel: kernel.image,
    maxQueues: MAX_QUEUES,
    modules: kernel.modules,
    secondLine: '/dev/ttyS1',
    command: (boot) => qemuCommand(program, kernel.image, boot),
  };
}

function qemuCommand(program: string, kernelImage: string, boot: GuestBoot): GuestCommand {
  const disks = boot.sockets.flatMap((socket, index) => [
    ...['-chardev', `socket,id=socket${index},path=${socket.replaceAll(',', ',,')}`],
    ...['-device', `vhost-user-blk-pci,chardev=socket${index},num-queues=${boot.queues}`],
  ]);
  const secondLine = ['-chardev', `socket,id=line2,fd=${SECOND_LINE_FD}`, '-serial', 'chardev:line2'];
  return {
    file: program,
    words: [
      ...['-accel', 'tcg', '-machine', 'pc', '-cpu', 'max', '-smp', `${boot.queues}`],
      // The back end maps guest memory, so it has to be a shared memfd.
      ...['-m', `${boot.memoryMiB}`, '-object', `memory-backend-memfd,id=memory,size=${boot.memoryMiB}M,share=on`],
      ...['-numa', 'node,memdev=memory'],
      ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
      ...(boot.wiring === 'shell' ? secondLine : []),
      ...['-kernel', kernelImage, '-initrd', boot.initramfs, '-append', 'console=ttyS0 quiet panic=-1'],
      ...disks,
    ],
  };
}
