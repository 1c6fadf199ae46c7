// cli: `belfry serve`: one device, one socket, until SIGTERM.
import { Command, Option } from 'commander';
import { QUEUES_DEFAULT, QUEUES_MAX } from '../devices/blk/block-config.ts';
import { READ_ERROR_POLICIES, WRITE_ERROR_POLICIES } from '../devices/blk/error-policy.ts';
import { MTU_MAX, MTU_MIN } from '../devices/net/spec.ts';
import { CID_MAX, CID_MIN } from '../devices/vsock/spec.ts';
import { RECORDING_BYTES_DEFAULT } from '../ports/record-frames.ts';
import { ENGINE_NAMES } from '../stores/open-store.ts';
import { commandName } from './command-name.ts';
import { type PortWord, placeWord, portWord } from './console-words.ts';
import * as option from './options.ts';
import { pollMode } from './poll-option.ts';
import { rate } from './rate-option.ts';
import { serveConsole } from './serve-console.ts';
import type { BlkFlags, ConsoleFlags, NetFlags, RngFlags, ServeFlags, VsockFlags } from './serve-flags.ts';
import { serveBlk, serveModule, serveRng } from './serve-kinds.ts';
import { serveNet } from './serve-net.ts';
import { serveVsock } from './serve-vsock.ts';

const belfry = commandName();
const SIGNALS = `
SIGTERM and Ctrl-C end it after the requests in flight; a second one does not wait for them. SIGHUP opens FILE of --log again, as
logrotate needs it. SIGUSR2 prints the state of every queue.
`;

const DISK_SIGNALS = `${SIGNALS}
Of a disk, SIGHUP reads the size again, and SIGCONT tries the requests again that are held after an error.
`;

const SUPERVISED = `
With --supervise a small process keeps the socket, and starts a device process again that dies: front ends wait meanwhile, and no
request is lost. "${belfry} upgrade" has a new version of Belfry take over the same way.
`;

const BLK_EXAMPLES = `
STORE is an image file, a block device, mem:SIZE (a disk of memory), or a module whose default export is a disk.

Engines: mapped (an image in memory: a request is a copy), uring (io_uring: requests overlap), sync (a system call a request, on a
few threads). auto takes the first of these that can serve the image, and says which and why. --direct bypasses the page cache: the disk
then has the blocks that the file system or device asks for, 512 or 4096 bytes.

An image has one writer. A guest that is migrated has a daemon at each end for a moment: both are started with --shared.

Errors of STORE: report (the guest gets an I/O error), stop (the request is held and later writes wait; SIGCONT has it tried again,
and a second if there was no room), enospc (stop if there was no room, else report), ignore (the guest is told that it succeeded, and
loses data). A flush that failed is never held: what it was to make durable may be lost.

Limits: a request beyond iops (requests a second) or bps (bytes a second) waits. A disk that was idle may do burst seconds' worth at
once (1 by default). Flushes are not limited.
${SUPERVISED}${DISK_SIGNALS}
Examples:
  ${belfry} serve blk disk.img --socket /tmp/disk.sock
  ${belfry} serve blk mem:1G --socket /tmp/ram.sock --threads 2
  ${belfry} serve blk /dev/vg0/guest --socket /tmp/disk.sock --engine uring --direct
  ${belfry} serve blk disk.img --socket /tmp/disk.sock --limit iops=500,bps=10M --limit-write iops=100,burst=5
  ${belfry} serve blk ./my-disk.ts --socket /tmp/mine.sock --read-only --log mine.log
  ${belfry} serve blk disk.img --socket /tmp/disk.sock --supervise
  systemd-socket-activate -l /run/disk.sock ${belfry} serve blk /dev/vg0/guest
`;

const RNG_EXAMPLES = `
With --limit a guest that asks for more than bps (bytes a second) waits. After a pause it may have burst seconds' worth at once (1 by
default).
${SIGNALS}
Examples:
  ${belfry} serve rng --socket /tmp/rng.sock
  ${belfry} serve rng --socket /tmp/rng.sock --limit bps=64K
`;

const CONSOLE_EXAMPLES = `
The other end of the guest's /dev/hvc0 is this terminal (Ctrl-A x ends it, Ctrl-A h shows the keys), or standard input and output
where those are pipes or files. --console chooses another, and --port adds serial ports, the guest's /dev/virtio-ports/NAME.

stdio is this terminal, or standard input and output. pty is a pseudo-terminal, whose path is printed; pty:LINK makes a link to it
as well. unix:PATH is a UNIX socket that one client at a time connects to. file:PATH is a file that the guest's output is appended
to. none is no /dev/hvc0.

What the guest writes to /dev/hvc0 while nobody has the other end open is dropped; a serial port tells the guest that it is closed
then. A port that is not read waits, and no other port with it. On standard output there is what the guest writes and nothing else:
messages go to standard error, or to --log.
${SIGNALS}
Examples:
  ${belfry} serve console --socket /tmp/console.sock
  ${belfry} serve console --socket /tmp/console.sock </dev/null >guest.log
  ${belfry} serve console --socket /tmp/console.sock --console unix:/tmp/terminal.sock
  ${belfry} serve console --socket /tmp/console.sock --console pty:/tmp/guest    # then: screen /tmp/guest
  ${belfry} serve console --socket /tmp/console.sock --port agent=unix:/tmp/agent.sock --port log=file:guest.log
`;

const NET_EXAMPLES = `
The other end of the guest's eth0 is the PORT.

tap:NAME is a tap interface of the kernel. It is made if it is not there and you may; the first example makes one for yourself that
stays.

packet:NAME is an interface of the host, as root: the guest is one more station of its network, which the host itself does not hear.

user is a network without root: a passt is started, and ended with this command. The guest gets an address by DHCP.

stream:PATH is a UNIX stream socket to connect to, in the framing of QEMU's -netdev stream: that of passt, or of another QEMU. It is
connected again when it ends.

listen:PATH is the same, made here, for one client at a time.

Limits: what the guest sends beyond pps (frames a second) or bps (bytes a second) waits in its own ring. What is sent to it waits here as
frames without a buffer do, and a tap keeps its next ones in the kernel. After a pause burst seconds' worth may go at once (1 by default).

--pcap records every frame in FILE, which is emptied first, until it is as large as --pcap-limit: Wireshark, tshark and tcpdump open it.

The link is down while stream or listen has no peer. Frames for a guest that gives no buffers are dropped after a second, or
when many wait; the counts at the end and of --json say how many.
${SIGNALS}
Examples:
  sudo ip tuntap add vm0 mode tap user $USER && sudo ip link set vm0 up
  ${belfry} serve net --socket /tmp/net.sock --port tap:vm0
  ${belfry} serve net --socket /tmp/net.sock --port tap:vm0 --mac 52:54:00:12:34:56 --mtu 9000
  ${belfry} serve net --socket /tmp/net.sock --port tap:vm0 --limit bps=10M --limit-send pps=5000,bps=1M
  ${belfry} serve net --socket /tmp/net.sock --port tap:vm0 --pcap vm0.pcapng --pcap-limit 64M
  ${belfry} serve net --socket /tmp/net.sock --port user
  passt --socket /tmp/passt.sock && ${belfry} serve net --socket /tmp/net.sock --port stream:/tmp/passt.sock
  ${belfry} serve net --socket /tmp/net0.sock --port listen:/tmp/cable.sock
  ${belfry} serve net --socket /tmp/net1.sock --port stream:/tmp/cable.sock
`;

const VSOCK_EXAMPLES = `
Connects AF_VSOCK sockets of the guest with UNIX sockets of the host, as Firecracker and cloud-hypervisor do.

The guest connects to port P of CID 2: the UNIX socket PATH_P gets the connection, and where nothing listens there the guest's is
refused.

A program of the host connects to PATH, writes "CONNECT P" and a newline, and is connected to port P of the guest when it reads
"OK" and a port of the host.
${SIGNALS}
Examples:
  ${belfry} serve vsock --socket /tmp/vsock.sock --cid 3 --uds /tmp/vm0
  socat UNIX-LISTEN:/tmp/vm0_1234,fork -          # the guest: socat - VSOCK-CONNECT:2:1234
  (echo CONNECT 22; cat) | socat - UNIX:/tmp/vm0  # the guest: socat VSOCK-LISTEN:22 -
`;

const EXAMPLES = `
MODULE is TypeScript or JavaScript whose default export is a device or a disk, or a function that makes one.
${DISK_SIGNALS}
Examples:
  ${belfry} serve blk disk.img --socket /tmp/disk.sock
  ${belfry} serve rng --socket /tmp/rng.sock
  ${belfry} serve console --socket /tmp/console.sock
  ${belfry} serve net --socket /tmp/net.sock --port tap:vm0
  ${belfry} serve vsock --socket /tmp/vsock.sock --cid 3 --uds /tmp/vm0
  ${belfry} serve ./my-device.ts --socket /tmp/mine.sock
`;

function withCommon(command: Command): Command {
  return command
    .option('--socket <path>', 'the vhost-user socket to make')
    .option('--fd <number>', 'an inherited listening socket instead', option.wholeNumber(0, 1 << 20))
    .option('--supervise', 'start a device process again that dies, and let "upgrade" replace it', false)
    .option('--control <path>', 'a socket to make, through which "ctl" shows and changes what runs')
    .option('--metrics <address>', 'serve metrics for Prometheus at [ADDRESS:]PORT, e.g. 9420', option.metricsAddress)
    .option('--once', 'end when the first VMM leaves', false)
    .option('--stop-timeout <seconds>', 'how long SIGTERM waits for requests in flight', option.seconds, 10)
    .option('--allow-file-memory', 'guest memory may be a file of any file system, not memfd or tmpfs alone', false)
    .option('--log <file>', 'append what would be printed to a file, with the time')
    .option('--json', 'print events as JSON lines', false)
    .option('--quiet', 'print only problems', false);
}

function withThreads(command: Command): Command {
  return command
    .option('--poll <mode>', 'poll before sleeping: off, auto (default), or microseconds', pollMode)
    .option('--cpus <list>', 'processors to keep the threads on, e.g. 1 or 2,3', option.cpuList);
}

function blkCommand(): Command {
  const blk = new Command('blk').description('serve a disk (virtio-blk)').argument('<store>', 'where its data is');
  return withThreads(withCommon(blk))
    .option('--read-only', 'refuse writes', false)
    .addOption(
      new Option('--format <format>', 'serve an image as it is, even if it looks like one of another format').choices([
        'raw',
      ]),
    )
    .addOption(
      new Option('--engine <engine>', 'how an image is accessed; auto chooses by where it is')
        .choices(['auto', ...ENGINE_NAMES])
        .default('auto'),
    )
    .option('--direct', 'bypass the page cache (O_DIRECT)', false)
    .option('--shared', 'let other daemons with --shared have the image open', false)
    .option(
      '--queues <n>',
      'queues offered; a VMM uses what it needs',
      option.wholeNumber(1, QUEUES_MAX),
      QUEUES_DEFAULT,
    )
    .option('--threads <n>', 'threads the queues are spread over', option.wholeNumber(1, QUEUES_MAX), 1)
    .option('--serial <text>', 'serial number the guest reads', option.serial, 'belfry')
    .option('--block-size <bytes>', 'logical block size', option.blockSize)
    .addOption(new Option('--on-error <policy>', 'for requests that STORE fails').choices(READ_ERROR_POLICIES))
    .addOption(new Option('--on-read-error <policy>', 'for reads alone (default: report)').choices(READ_ERROR_POLICIES))
    .addOption(
      new Option('--on-write-error <policy>', 'for all other requests (default: enospc)').choices(WRITE_ERROR_POLICIES),
    )
    .option('--limit <limit>', 'requests and bytes a second at most: iops=500,bps=10M,burst=2', option.limit)
    .option('--limit-read <limit>', 'the same for reads', option.limit)
    .option('--limit-write <limit>', 'the same for writes', option.limit)
    .addHelpText('after', BLK_EXAMPLES)
    .action(async (store: string, flags: BlkFlags) => serveBlk(store, flags));
}

function rngCommand(): Command {
  const rng = new Command('rng').description('serve a source of random numbers (virtio-rng)');
  return withThreads(withCommon(rng))
    .option('--limit <limit>', 'bytes a second at most: bps=64K,burst=2', rate('bps', 'burst'))
    .addHelpText('after', RNG_EXAMPLES)
    .action(async (flags: RngFlags) => serveRng(flags));
}

function consoleCommand(): Command {
  const ports: PortWord[] = [];
  const console = new Command('console').description('serve a console (virtio-console): /dev/hvc0, and serial ports');
  return withCommon(console)
    .option('--console <where>', 'where /dev/hvc0 leads: stdio (default), pty, unix:PATH, file:PATH or none', placeWord)
    .option('--listen <path>', 'the same as --console unix:PATH')
    .option('--port <name=where>', 'a serial port, and where it leads; may be repeated', (text) => {
      ports.push(portWord(text));
    })
    .addHelpText('after', CONSOLE_EXAMPLES)
    .action(async (flags: ConsoleFlags) => serveConsole(flags, ports));
}

function netCommand(): Command {
  const netRate = rate('pps', 'bps', 'burst');
  const net = new Command('net').description('serve a network card (virtio-net)');
  return withThreads(withCommon(net.argument('[port]', 'the same as --port')))
    .option('--port <port>', 'what it is connected to: tap:NAME, packet:NAME, stream:PATH, listen:PATH or user')
    .option('--mac <address>', 'its MAC address (default: a random one)')
    .option('--mtu <bytes>', 'the longest packet; the guest takes it over', option.wholeNumber(MTU_MIN, MTU_MAX))
    .option('--limit <limit>', 'frames and bytes a second at most, each way: pps=1000,bps=10M,burst=2', netRate)
    .option('--limit-send <limit>', 'the same for what the guest sends alone', netRate)
    .option('--limit-receive <limit>', 'the same for what it receives alone', netRate)
    .option('--pcap <file>', 'record its frames: pcapng, both directions, in nanoseconds')
    .addOption(
      option.sizeOption(
        '--pcap-limit <size>',
        'the largest size of that file',
        option.fileSize,
        RECORDING_BYTES_DEFAULT,
      ),
    )
    .addHelpText('after', NET_EXAMPLES)
    .action(async (port: string | undefined, flags: NetFlags) => serveNet(port, flags));
}

function vsockCommand(): Command {
  const vsock = new Command('vsock').description('serve sockets between guest and host (virtio-vsock)');
  return withThreads(withCommon(vsock))
    .option('--cid <n>', 'the address of the guest, 3 or more', option.wholeNumber(CID_MIN, CID_MAX))
    .option('--uds <path>', 'the UNIX socket for connections to the guest; those of the guest go to PATH_PORT')
    .addHelpText('after', VSOCK_EXAMPLES)
    .action(async (flags: VsockFlags) => serveVsock(flags));
}

export function serveCommand(): Command {
  const serve = new Command('serve')
    .description('serve a device to virtual machines over vhost-user')
    .argument('[module]', 'a device of your own')
    .addHelpText('after', EXAMPLES)
    // An option after `blk` belongs to `blk`, though `serve` has one of that name.
    .enablePositionalOptions()
    .addCommand(blkCommand())
    .addCommand(rngCommand())
    .addCommand(consoleCommand())
    .addCommand(netCommand())
    .addCommand(vsockCommand());
  return withCommon(serve).action(async (module: string | undefined, flags: ServeFlags, command: Command) => {
    if (module === undefined) command.help({ error: true });
    else await serveModule(module, flags);
  });
}
