// test/microvm/bed: what a microVM's guest does: the /init scripts of its initramfs; `rdinit=` on the command line chooses.
import type { CpioEntry } from '../../../guests/cpio.ts';
import { scriptEntry } from '../../../guests/initramfs.ts';
import { scenarioScript } from '../../../guests/scenario.ts';
import { exitProgram } from './exit-program.ts';

/**
 * `/init`: a shell on the console with the disks as /dev/vda, /dev/vdb, ...; with `belfry.run=COMMAND` (commas for spaces)
 * it runs that and no shell. What it ended with becomes the exit code of the machine.
 * `/bin/churn DISK` writes and compares on a file system there until /tmp/stop exists, and says so round by round.
 * `/disks`: `format-write-verify` of the guests room on two disks.
 */
export function guestScripts(moduleNames: readonly string[]): readonly CpioEntry[] {
  const twoDisks = { name: 'format-write-verify', disks: 2, partition: false, dataMiB: 1 } as const;
  const exit: CpioEntry = { kind: 'file', path: 'bin/exit-machine', mode: 0o755, bytes: exitProgram() };
  return [
    scriptEntry('init', shellScript(moduleNames)),
    scriptEntry('disks', scenarioScript(twoDisks, moduleNames)),
    scriptEntry('bin/churn', CHURN),
    exit,
  ];
}

function shellScript(moduleNames: readonly string[]): string {
  return [HEAD, ...moduleNames.map((name) => `insmod /modules/${name}.ko`), TAIL, ''].join('\n');
}

const HEAD = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
export PATH=/sbin:/bin LC_ALL=C PS1='guest# '`;

const TAIL = `command=$(sed -n 's/.*belfry\\.run=\\([^ ]*\\).*/\\1/p' /proc/cmdline | tr , ' ')
echo "BELFRY up $(uname -r)"
if [ -n "$command" ]; then sh -c "$command"; else setsid cttyhack sh -i; fi
code=$?
# What the serial driver has not sent would be lost. stty waits for it: TCSADRAIN of tcsetattr(3).
stty sane
[ $code = 0 ] || exit-machine $code
poweroff -f`;

// A reader of its own keeps the disk busy between the writer's steps. Of every file the sum is known before it is written.
const CHURN = `#!/bin/busybox sh
disk=$1 round=0
failed() { echo "BELFRY churn failed: $1"; exit 1; }
mkfs.ext4 -q -F $disk && mount -t ext4 $disk /mnt && mkdir /tmp/sums || failed mkfs
while [ ! -e /tmp/stop ]; do dd if=$disk of=/dev/null bs=4k count=256 iflag=direct 2>/dev/null; usleep 20000; done &
while [ ! -e /tmp/stop ]; do
  round=$((round + 1)) file=file-$((round % 8))
  dd if=/dev/urandom of=/tmp/$file bs=64k count=4 2>/dev/null
  (cd /tmp && sha256sum $file) >/tmp/sums/$file
  dd if=/tmp/$file of=/mnt/$file bs=16k oflag=direct conv=fsync 2>/dev/null || failed write
  cp /tmp/$file /mnt/again-$file && sync && echo 3 >/proc/sys/vm/drop_caches
  cmp /mnt/$file /mnt/again-$file || failed compare
  (cd /mnt && cat /tmp/sums/* | sha256sum -c >/dev/null) || failed sums
  echo "BELFRY round $round"
done
wait
umount /mnt && e2fsck -f -n $disk || failed fsck
if dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|JBD2: .*rror'; then failed log; fi
echo "BELFRY churned $round rounds"
`;
