// guests: the /init script of a guest with a shell in it, and the files that one session adds.
import type { CpioEntry } from './cpio.ts';
import { scriptEntry } from './initramfs.ts';

/** One boot of the shell. Without a session file the guest starts a prompt on its console. */
export interface ShellSession {
  /** Begins the lines of the console that are for the host: `MARK begin`, then `MARK exit CODE`. */
  readonly mark: string;
  /** Names of the disks on the host, in the order of their names in the guest. */
  readonly diskNames: readonly string[];
  /** Shell commands to run instead of a prompt; their standard output goes to the second line, errors to the console. */
  readonly commands?: Uint8Array;
  /** The terminal on the other end of the console. */
  readonly terminal?: ShellTerminal;
}

export interface ShellTerminal {
  /** 0 where unknown. */
  readonly columns: number;
  readonly rows: number;
  /** The value of $TERM. */
  readonly type: string;
}

const SESSION = 'session';
const COMMANDS = 'commands';

/** The /init of a guest with these modules under /modules, and what its interactive shells read at their start. */
export function shellEntries(moduleNames: readonly string[], secondLine: string): readonly CpioEntry[] {
  const init = [
    PRELUDE,
    `second_line=${secondLine}`,
    ...moduleNames.map((name) => `insmod /modules/${name}.ko || misfit=yes`),
    SESSION_STEPS,
  ].join('\n');
  return [scriptEntry('init', init), scriptEntry('shell-start', SHELL_START)];
}

/** The files of the initramfs that describe this session. */
export function sessionEntries(session: ShellSession): readonly CpioEntry[] {
  const { mark, diskNames, commands, terminal } = session;
  const variables = [
    `mark=${quoted(mark)}`,
    `disks=${diskNames.length}`,
    ...diskNames.map((name, index) => `name${index}=${quoted(name)}`),
    ...(terminal === undefined ? [] : [`rows=${terminal.rows}`, `columns=${terminal.columns}`]),
    ...(terminal === undefined ? [] : [`export TERM=${quoted(terminal.type)}`]),
  ];
  const file: CpioEntry = { kind: 'file', path: COMMANDS, mode: 0o644, bytes: commands ?? new Uint8Array(0) };
  return [scriptEntry(SESSION, `${variables.join('\n')}\n`), ...(commands === undefined ? [] : [file])];
}

/** Returns `text` quoted as one word of a shell. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

const PRELUDE = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
export PATH=/sbin:/bin HOME=/tmp LC_ALL=C TERM=vt100 ENV=/shell-start
dmesg -n 1
mark='' disks=\${disks:-1} rows=0 columns=0 name0='' misfit=''

tell() { [ -z "$mark" ] || echo "$mark $*"; }

size_of() {
  sectors=$(cat /sys/block/$1/size)
  if [ $((sectors % 2097152)) = 0 ] || [ $sectors -ge 20971520 ]; then echo "$((sectors / 2097152)) GiB"
  elif [ $sectors -ge 2048 ]; then echo "$((sectors / 2048)) MiB"
  else echo "$((sectors / 2)) KiB"; fi
}

# describe DISK NAME: what it is, in a sentence.
describe() {
  if [ ! -b /dev/$1 ]; then echo "There is no /dev/$1: the driver and the back end did not agree."; return; fi
  writable=''; [ "$(cat /sys/block/$1/ro)" = 0 ] || writable=', read-only'
  echo "/dev/$1 is \${2:-a disk} ($(size_of $1)$writable)."
}

await_disk() {
  tries=0
  while [ ! -b /dev/$1 ] && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
}

# Takes each disk in turn: vda and its name, vdb and its name, ...
banner() {
  line='' index=0
  for letter in a b c d e f g h; do
    [ $index -lt $disks ] || break
    await_disk vd$letter
    eval "name=\\$name$index"
    line="$line\${line:+ }$(describe vd$letter "$name")"
    index=$((index + 1))
  done
  rng=/sys/class/misc/hw_random/rng_current
  ! grep -q '^virtio' $rng 2>/dev/null || line="$line\${line:+ }/dev/hwrng is $(cat $rng)."
  [ ! -c /dev/hvc0 ] || line="$line\${line:+ }/dev/hvc0 is a console with a shell of its own."
  tools='busybox, mkfs.ext4, e2fsck, sfdisk, blkdiscard'
  [ ! -x /sbin/fio ] || tools="$tools, fio"
  echo "$line"
  echo "Linux $(uname -r) with $tools; exit ends it."
}

# A shell on /dev/hvc0.
serve_hvc0() {
  while [ -c /dev/hvc0 ]; do
    cat /tmp/hvc0-banner >/dev/hvc0
    ENV='' setsid sh -c 'exec sh -i <>/dev/hvc0 >&0 2>&1'
    sleep 0.1
  done
}

leave() {
  cd /
  grep '^/dev/vd' /proc/mounts | while read -r _ folder _; do umount "$folder"; done
  sync
  tell "exit $1"
  poweroff -f
}
`;

const SESSION_STEPS = `[ ! -f /${SESSION} ] || . /${SESSION}
if [ -n "$misfit" ]; then
  echo "The modules here are not for Linux $(uname -r): 'belfry shell --prepare' makes this file anew." >/dev/console
fi

if [ -f /${COMMANDS} ]; then
  # Bytes as they are: nothing is a line end or an interrupt.
  stty -F /dev/console raw -echo
  stty -F $second_line raw -echo
  tell begin
  banner | grep 'There is no'
  # Through a pipe, since programs write differently on a terminal.
  { { sh -c '. /shell-start; . /${COMMANDS}' </dev/null 2>&3; echo $? >/tmp/code; } | cat >$second_line; } 3>&1
  leave "$(cat /tmp/code)"
fi

[ $columns = 0 ] || stty rows $rows cols $columns </dev/console
tell begin
banner >/tmp/banner
if [ -c /dev/hvc0 ]; then
  sed 's/exit ends it/this is hvc0/' /tmp/banner >/tmp/hvc0-banner
  serve_hvc0 &
fi
setsid cttyhack sh
leave $?
`;

// Interactive shells read it at their start. There is no init that would handle a power-off.
const SHELL_START = `[ ! -f /tmp/banner ] || { cat /tmp/banner; rm /tmp/banner; }
poweroff() { exit 0; }
halt() { exit 0; }
reboot() { exit 0; }
shutdown() { exit 0; }
`;
