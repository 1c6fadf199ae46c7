// test/microvm/bed: what a microVM's guest does: the /init scripts of its initramfs; `rdinit=` on the command line chooses.
import type { CpioEntry } from '../../../src/guests/cpio.ts';
import { scriptEntry } from '../../../src/guests/initramfs.ts';
import { scenarioScript } from '../../../src/guests/scenario.ts';
import { exitProgram } from './exit-program.ts';

/**
 * `/init`: a shell on the console with the disks as /dev/vda, /dev/vdb, ...; with `belfry.run=COMMAND` (commas for spaces)
 * it runs that and no shell. What it ended with becomes the exit code of the machine.
 * `/disks`: `format-write-verify` of the guests room on two disks.
 */
export function guestScripts(moduleNames: readonly string[]): readonly CpioEntry[] {
  const twoDisks = { name: 'format-write-verify', disks: 2, partition: false, dataMiB: 2 } as const;
  const exit: CpioEntry = { kind: 'file', path: 'bin/exit-machine', mode: 0o755, bytes: exitProgram() };
  return [
    scriptEntry('init', shellScript(moduleNames)),
    scriptEntry('disks', scenarioScript(twoDisks, moduleNames)),
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
[ $code = 0 ] || exit-machine $code
poweroff -f`;
