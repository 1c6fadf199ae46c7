// guests: the scenarios of a guest, as /init scripts.

/**
 * `format-write-verify`: zero and discard ranges, partition, make a file system, write, read back, compare, check.
 * `verify-only`: what an earlier boot wrote is still there. `read-only`: the same, and every write is refused.
 * `write-all`: for a disk too small for a file system: every block is written, and compared in two ways.
 * `read-all`: changes nothing on the disk: an ext4 is mounted, and two ways to read are compared.
 */
export type ScenarioName = 'format-write-verify' | 'verify-only' | 'read-only' | 'write-all' | 'read-all';

export interface Scenario {
  readonly name: ScenarioName;
  /** Number of disks: vda, vdb, ... */
  readonly disks: number;
  /** One partition, or the file system on the whole disk. */
  readonly partition: boolean;
  /** Random content written in each of two ways (buffered, O_DIRECT), in MiB; of `read-all` what is read at most. */
  readonly dataMiB: number;
}

/** Returns vda to vdz: up to 26 disks. */
export function diskName(index: number): string {
  return `vd${String.fromCharCode('a'.charCodeAt(0) + index)}`;
}

/**
 * The script. It prints lines that begin with `BELFRY` (see `ConsoleParser`) and powers the machine off.
 * It needs the programs of `guestPrograms` and loads every module under /modules that `moduleNames` names.
 */
export function scenarioScript(scenario: Scenario, moduleNames: readonly string[]): string {
  const disks = Array.from({ length: scenario.disks }, (_, index) => diskName(index));
  return [
    PRELUDE,
    ...moduleNames.map((name) => `insmod /modules/${name}.ko || finish failed`),
    ...disks.flatMap((disk) => [`disk=${disk}`, DISK_FACTS, ...STEPS[scenario.name](scenario)]),
    "disk=''",
    'step kernel-log 0 no_io_errors',
    'finish ok',
    '',
  ].join('\n');
}

// The shell's own clock and arithmetic: starting a program costs milliseconds in an emulated guest.
const PRELUDE = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
export PATH=/sbin:/bin LC_ALL=C

now() { now=$EPOCHREALTIME; now=\${now%.*}\${now#*.}; }
fact() { echo "BELFRY fact disk=$disk $1=$2"; }
# What the serial driver has not sent when the machine goes off is lost: stty waits for it.
finish() { echo "BELFRY done $1"; stty sane 2>/dev/null; poweroff -f; }
refused() { ! "$@"; }

# step NAME BYTES COMMAND...: BYTES is what the command moves to or from the disk, 0 where that means nothing.
step() {
  step=$1 bytes=$2; shift 2
  now; begin=$now
  if "$@" >/tmp/output 2>&1; then result=ok; else result=failed; fi
  now
  echo "BELFRY step disk=$disk name=$step result=$result us=$((now - begin)) bytes=$bytes"
  if [ $result = failed ]; then cat /tmp/output; finish failed; fi
}

file_system() { if [ -b /dev/\${disk}1 ]; then echo /dev/\${disk}1; else echo /dev/$disk; fi; }
mount_disk() { mount -t ext4 "$@" $(file_system) /mnt; }
check() { e2fsck -f -n $(file_system); }
compare() { cd /mnt/belfry && sha256sum -c SHA256SUMS; result=$?; cd /; return $result; }
forget() { sync && echo 3 >/proc/sys/vm/drop_caches; }
no_io_errors() { ! dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|critical target|JBD2: .*rror'; }

clear_start() { dd if=/dev/zero of=/dev/$disk bs=1M count=1 oflag=direct && blockdev --rereadpt /dev/$disk; }
zero_range() {
  dd if=/dev/urandom of=/tmp/pattern bs=512k count=2 &&
  dd if=/tmp/pattern of=/dev/$disk bs=1M seek=1 oflag=direct &&
  /sbin/blkdiscard -z -o 1048576 -l 524288 /dev/$disk &&
  dd if=/dev/$disk of=/tmp/range bs=1M skip=1 count=1 iflag=direct &&
  cmp -n 524288 /tmp/range /dev/zero &&
  tail -c 524288 /tmp/pattern >/tmp/expected && tail -c 524288 /tmp/range | cmp - /tmp/expected
}
discard_range() { /sbin/blkdiscard -o 2097152 -l 1048576 /dev/$disk; }
make_partition() {
  echo 'start=1MiB, type=83' | sfdisk --quiet --no-reread --no-tell-kernel --label dos /dev/$disk &&
  blockdev --rereadpt /dev/$disk && [ -b /dev/\${disk}1 ]
}

# The sums are made before the content ever reaches the disk.
make_content() {
  rm -rf /tmp/content && mkdir /tmp/content && cd /tmp/content &&
  dd if=/dev/urandom of=buffered bs=1M count=$1 && dd if=/dev/urandom of=direct bs=1M count=$1 || return
  for size in 1 511 512 513 4095 4097 10000 65535 65537 300001; do
    head -c $size /dev/urandom >small-$size || return
  done
  sha256sum * >SHA256SUMS; result=$?; cd /; return $result
}
write_buffered() {
  mkdir /mnt/belfry && cp /tmp/content/SHA256SUMS /tmp/content/small-* /mnt/belfry &&
  dd if=/tmp/content/buffered of=/mnt/belfry/buffered bs=1M && sync
}
write_direct() { dd if=/tmp/content/direct of=/mnt/belfry/direct bs=1M oflag=direct; }
read_buffered() { dd if=/mnt/belfry/buffered of=/dev/null bs=1M; }
read_direct() { dd if=/mnt/belfry/direct of=/dev/null bs=1M iflag=direct; }
read_4k() { dd if=/mnt/belfry/direct of=/dev/null bs=4k count=$1 iflag=direct; }

write_all() {
  head -c $((sectors * 512)) /dev/urandom >/tmp/all && dd if=/tmp/all of=/dev/$disk bs=64k oflag=direct
}
compare_all() { dd if=/dev/$disk of=/tmp/back bs=64k "$@" && cmp /tmp/all /tmp/back; }
read_sum() { mib=$1 sum=$2; shift 2; dd if=/dev/$disk bs=1M count=$mib "$@" | sha256sum >$sum; }
same_sums() { cat /tmp/first /tmp/second; cmp /tmp/first /tmp/second; }
mount_read_only() { mount -t ext4 -o ro,noload /dev/$1 /mnt && ls -lR /mnt >/tmp/listing && umount /mnt; }
# Prints the first of the disk and its partitions that holds an ext4.
find_ext4() {
  for path in /dev/$disk /dev/\${disk}[1-9]*; do
    if [ -b $path ] && mount -t ext4 -o ro,noload $path /mnt 2>/dev/null; then umount /mnt; echo \${path#/dev/}; return; fi
  done
}

disk=''
fact kernel $(uname -r)`;

const DISK_FACTS = `tries=0
while [ ! -b /dev/$disk ] && [ $tries -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
step appears 0 test -b /dev/$disk
fact serial "$(cat /sys/block/$disk/serial)"
fact sectors $(cat /sys/block/$disk/size)
fact logical-block-bytes $(cat /sys/block/$disk/queue/logical_block_size)
fact queues $(ls /sys/block/$disk/mq | wc -l)
fact read-only $(cat /sys/block/$disk/ro)
sectors=$(cat /sys/block/$disk/size)
discard=$(cat /sys/block/$disk/queue/discard_max_bytes)`;

const MIB = 2 ** 20;
const READS_4K = 1000;

const STEPS: Record<ScenarioName, (scenario: Scenario) => readonly string[]> = {
  'format-write-verify': (scenario) => [
    'step clear-start 0 clear_start',
    'step zero-range 0 zero_range',
    '[ $discard = 0 ] || step discard 0 discard_range',
    ...(scenario.partition ? ['step partition 0 make_partition'] : []),
    'step mkfs 0 mkfs.ext4 -q -F $(file_system)',
    'step mount 0 mount_disk',
    `step random-content 0 make_content ${scenario.dataMiB}`,
    `step write ${scenario.dataMiB * MIB} write_buffered`,
    `step write-direct ${scenario.dataMiB * MIB} write_direct`,
    '[ $discard = 0 ] || step trim 0 fstrim /mnt',
    'step drop-caches 0 forget',
    `step read ${scenario.dataMiB * MIB} read_buffered`,
    `step read-direct ${scenario.dataMiB * MIB} read_direct`,
    `step read-4k ${READS_4K * 4096} read_4k ${READS_4K}`,
    'step drop-caches 0 forget',
    'step compare 0 compare',
    'step unmount 0 umount /mnt',
    'step fsck 0 check',
  ],
  'verify-only': () => [
    'step mount 0 mount_disk',
    'step compare 0 compare',
    'step write-more 0 sh -c "date >>/mnt/boots && sync"',
    'step unmount 0 umount /mnt',
    'step fsck 0 check',
  ],
  'write-all': () => [
    'step write-all $((sectors * 512)) write_all',
    'step drop-caches 0 forget',
    'step compare-direct $((sectors * 512)) compare_all iflag=direct',
    'step compare-cached $((sectors * 512)) compare_all',
  ],
  'read-all': ({ dataMiB }) => [
    'ext4=$(find_ext4)',
    'fact ext4 "$ext4"',
    '[ -z "$ext4" ] || step mount-read-only 0 mount_read_only $ext4',
    `bytes_read=$((sectors * 512)); [ $bytes_read -le ${dataMiB * MIB} ] || bytes_read=${dataMiB * MIB}`,
    `step read-direct-all $bytes_read read_sum ${dataMiB} /tmp/first iflag=direct`,
    'step drop-caches 0 forget',
    `step read-cached-all $bytes_read read_sum ${dataMiB} /tmp/second`,
    'step same-sums 0 same_sums',
    'step write-refused 0 refused dd if=/dev/zero of=/dev/$disk bs=4k count=1 oflag=direct',
  ],
  'read-only': () => [
    'step write-refused 0 refused dd if=/dev/zero of=/dev/$disk bs=4k count=1 oflag=direct',
    'step mount 0 mount_disk -o ro',
    'step compare 0 compare',
    'step create-refused 0 refused touch /mnt/belfry/new',
    'step unmount 0 umount /mnt',
    'step fsck 0 check',
  ],
};
