// cli: `belfry run`: boots a Linux kernel in a microVM on this terminal.

import { totalmem } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { parseSize } from '../stores/size.ts';
import { CPUS_MAX, TRANSPORTS } from '../vmm/address-map.ts';
import { processorThreads } from '../vmm/processor.ts';
import { commandName } from './command-name.ts';
import * as option from './options.ts';
import { bytes } from './quantities.ts';
import {
  COMMAND_LINES,
  CONSOLES,
  type DiskWord,
  netWord,
  type RunFlags,
  storeWord,
  vhostUserWord,
} from './run-flags.ts';
import { UsageError } from './usage-error.ts';

const MEMORY_MIN = 16 * 2 ** 20;

const belfry = commandName();
const EXAMPLES = `
The guest's serial port (ttyS0) is this terminal; Ctrl-A x ends the guest, Ctrl-A h shows the keys. Memory is given as 512M or 4G.

With --console virtio the terminal is the guest's hvc0: much faster, and the guest hears the size of its window. What the kernel prints
before its driver is loaded is seen with "console=ttyS0 console=hvc0" in --append: the serial port is shown, and gets no keys.

Disks are vda, vdb, … in the order of the command line. STORE is an image file, a block device, mem:SIZE (a disk of memory), or a
module whose default export is a disk; STORE:ro refuses writes. A vhost-user back end (${belfry} serve blk, qemu-storage-daemon, SPDK)
listens on SOCKET. SIGUSR1 hands the first --disk over to the back end at the --hand-over socket, or takes it back.

--net takes the ports of "${belfry} serve net --help": tap:NAME, packet:NAME, stream:PATH, listen:PATH, and user, a network without root by
passt, in which the guest gets an address by DHCP. Each is a network card with an address of its own.

Exit code: 0 when the guest powered off, or was ended from outside (Ctrl-A x, SIGTERM); 1 when it failed (triple fault) or asked for a
reset (a panic, a reboot); the guest's own when it wrote one to I/O port 0xf4: printf '\\003' | dd of=/dev/port bs=1 seek=244

Examples:
  ${belfry} run --kernel /boot/vmlinuz --initrd /boot/initrd.img
  ${belfry} run --kernel vmlinuz --append "console=ttyS0 root=/dev/vda1" --disk debian.img --vhost-user /tmp/disk.sock:blk
  ${belfry} run --kernel vmlinuz --initrd initrd.img --console virtio --append "console=ttyS0 console=hvc0"
  ${belfry} run --kernel /boot/vmlinuz --initrd /boot/initrd.img --net user
  ${belfry} run --kernel vmlinux --initrd root.cpio.gz --append "console=ttyS0 quiet" --cpus 2 --memory 1G
`;

export function runCommand(): Command {
  const disks: DiskWord[] = [];
  const collect = (parse: (text: string) => DiskWord) => (text: string) => void disks.push(parse(text));
  return new Command('run')
    .description('boot a Linux kernel in a microVM (needs /dev/kvm)')
    .requiredOption('--kernel <file>', 'a bzImage (/boot/vmlinuz-…) or an ELF vmlinux, for x86-64')
    .option('--initrd <file>', 'the initial file system, for the kernel')
    .option('--append <text>', `the kernel command line (default: ${COMMAND_LINES.serial}, or console=hvc0 …)`)
    .addOption(
      new Option('--console <kind>', 'what this terminal is for the guest: ttyS0 or hvc0')
        .choices(CONSOLES)
        .default('serial'),
    )
    .option('--cpus <n>', 'processors', option.wholeNumber(1, CPUS_MAX), 1)
    .addOption(option.sizeOption('--memory <size>', 'memory', memorySize, 512 * 2 ** 20))
    .option('--disk <store>', 'a disk served in-process; may be repeated', collect(storeWord))
    .option('--vhost-user <socket:blk>', 'a disk of a vhost-user back end; may be repeated', collect(vhostUserWord))
    .option('--net <port>', 'a network card: tap:NAME, user (passt), …; may be repeated', collect(netWord))
    .addOption(
      new Option('--transport <name>', 'how the guest finds its disks, network cards and a virtio console')
        .choices(TRANSPORTS)
        .default('mmio'),
    )
    .addOption(
      new Option('--when-gone <what>', 'what requests do while a back end is gone')
        .choices(['wait', 'fail'])
        .default('wait'),
    )
    .option('--hand-over <socket>', 'the back end that SIGUSR1 hands the first --disk to')
    .option('--verbose', 'print how long the start took, and how many exits the guest made')
    .addHelpText('after', EXAMPLES)
    .action((flags: RunFlags) => run(flags, disks));
}

async function run(flags: RunFlags, disks: readonly DiskWord[]): Promise<void> {
  if (flags.memory > totalmem())
    throw new UsageError(`--memory: this machine has ${bytes(totalmem())} itself: take less`);
  const threads = processorThreads(flags.cpus);
  // The module is loaded while the threads start.
  const { runMachine } = await import('./run-machine.ts');
  const exit = await runMachine(flags, disks, threads);
  if (exit.how === 'exit') process.exitCode = exit.code;
  if (exit.how === 'failed') throw new Error(exit.why);
  if (exit.how === 'reset') throw new Error('the guest asked for a reset: it panicked or rebooted');
}

/** Parses a size of memory such as 512M, in whole pages. */
function memorySize(text: string): number {
  let sizeBytes = 0;
  try {
    sizeBytes = parseSize(text);
  } catch {
    // 0 is refused below.
  }
  if (sizeBytes < MEMORY_MIN || sizeBytes % 4096 !== 0)
    throw new InvalidArgumentError('It takes a size of at least 16M, as in 512M or 4G.');
  return sizeBytes;
}
