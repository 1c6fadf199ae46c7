// guests: the words of User-Mode Linux's command line.

const VIRTIO_ID_BLOCK = 2;
/**
 * The kernel calls a program for every device that appears, and each start of a program costs milliseconds here: 256
 * pairs of old terminals and 64 serial lines would be most of the boot. So would measuring RAID-6 routines.
 */
const QUICK_BOOT = ['pty.legacy_count=0', 'initcall_blacklist=ssl_init,raid6_select_algo'];

export interface UmlMachine {
  readonly memoryMiB: number;
  readonly initramfs: string;
  /** vhost-user sockets of disks: vda, vdb, ... See `umlCanOpen`. */
  readonly sockets: readonly string[];
  /** The type of the devices at the sockets, §5. Default: disks. */
  readonly deviceType?: number;
  /** The channel of each console, as in `con0=null,fd:1`; other consoles have none. */
  readonly consoles: readonly string[];
}

export function umlWords(machine: UmlMachine): string[] {
  const { memoryMiB, initramfs, sockets, deviceType = VIRTIO_ID_BLOCK, consoles } = machine;
  const devices = sockets.map((socket) => `virtio_uml.device=${socket}:${deviceType}`);
  return [`mem=${memoryMiB}M`, `initrd=${initramfs}`, ...devices, 'con=null', ...consoles, 'quiet', ...QUICK_BOOT];
}

/** Whether `socket` can be in a word: words end at a space, and a colon must be followed by a number. */
export function umlCanOpen(socket: string): boolean {
  return !/[\s:"]/.test(socket);
}
