// test/microvm/bed: the /init of the outer guest: it becomes a small system on the disk it was given and runs one command.
import { quoted } from '../../../guests/shell-script.ts';

/** The line that ends the console of a bed that came to its end, with the exit code of the command. */
export const ENDED = /^BELFRY bed ended ([0-9]+)$/;

/** The line that says that the command begins. */
export const UP = 'BELFRY bed up';

/** A line that comes every few seconds for as long as the bed lives, whatever its command does. */
export const BEAT = 'BELFRY beat';
const BEAT_SECONDS = 5;

/** Loads the modules, moves onto the disk and runs `script` of `commandScript`, which is at /command in the archive. */
export function outerScript(moduleNames: readonly string[]): string {
  return [HEAD, ...moduleNames.map((name) => `insmod /modules/${name}.ko`), TAIL, ''].join('\n');
}

/** Runs the words of `command` with `environment` in the folder of the checkout and says how they ended. */
export function commandScript(command: readonly string[], environment: Readonly<Record<string, string>>): string {
  const variables = Object.entries(environment).map(([name, value]) => `export ${name}=${quoted(value)}`);
  return [SETTLE, ...variables, `${command.map(quoted).join(' ')} </dev/null`, FINISH, ''].join('\n');
}

// The shell finds its applets through /proc/self/exe.
const HEAD = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev`;

const TAIL = `tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
mount -t ext4 -o ro /dev/vda /mnt
mount -t tmpfs -o mode=1777 tmpfs /mnt/tmp
cp /command /mnt/tmp/command
mount --move /dev /mnt/dev
mount --move /proc /mnt/proc
exec /bin/busybox switch_root /mnt /bin/sh /tmp/command`;

const SETTLE = `export PATH=/bin:/sbin HOME=/tmp LC_ALL=C NO_COLOR=1
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/tmp
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
export NODE_COMPILE_CACHE=/compiled NODE_COMPILE_CACHE_PORTABLE=1 BELFRY_YARDSTICK=/bin/yardstick
stty -opost </dev/console
cd /belfry
while sleep ${BEAT_SECONDS}; do echo ${BEAT}; done &
echo ${UP}`;

const FINISH = `echo "BELFRY bed ended $?"
dmesg -n 1
poweroff -f`;
