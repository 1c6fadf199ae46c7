// test/vhost-user/sequences: what is recorded: the steps of each scenario, and what its machine has beside the usual.
import type { MachineOptions, RecordedMachine } from './recorded-machine.ts';

/** MQ, REPLY_ACK, BACKEND_REQ, CONFIG, RESET_DEVICE, CONFIGURE_MEM_SLOTS, STATUS. */
const USUAL = (1n << 0n) | (1n << 3n) | (1n << 5n) | (1n << 9n) | (1n << 13n) | (1n << 15n) | (1n << 16n);
const LOG_SHMFD = 1n << 1n;

export interface Scenario {
  readonly summary: string;
  readonly queues?: number;
  /** Protocol features beside the usual ones. */
  readonly alsoOffered?: bigint;
  readonly options?: (version: string) => Partial<MachineOptions>;
  run(machine: RecordedMachine): Promise<void>;
}

export function offeredIn({ alsoOffered = 0n }: Scenario): bigint {
  return USUAL | alsoOffered;
}

const STATE_DISK = ['-blockdev', 'driver=qcow2,node-name=state,file.driver=file,file.filename=state.qcow2'];

async function savevm(machine: RecordedMachine): Promise<void> {
  await machine.booted();
  await machine.requests();
  const saved = await machine.qmp('human-monitor-command', { 'command-line': 'savevm first' });
  await machine.requests();
  if (saved) {
    await machine.qmp('human-monitor-command', { 'command-line': 'loadvm first' });
    await machine.requests();
  }
  await quit(machine);
}

async function migrate(machine: RecordedMachine): Promise<void> {
  using _ = machine.deadEnd('elsewhere.sock');
  await machine.booted();
  await machine.requests();
  const begun = await machine.qmp('migrate', { uri: 'unix:elsewhere.sock' });
  await machine.requests();
  if (begun) {
    await machine.qmp('migrate_cancel');
    await machine.requests();
  }
  await quit(machine);
}

async function quit(machine: RecordedMachine): Promise<void> {
  await machine.qmp('quit');
  await machine.ended();
}

async function replug(machine: RecordedMachine, chardev: string): Promise<void> {
  await machine.booted();
  await machine.requests();
  await machine.qmp('device_del', { id: 'disk0' });
  await machine.event('DEVICE_DELETED');
  if (chardev !== 'disk') {
    await machine.qmp('chardev-remove', { id: 'disk' });
    const addr = { type: 'unix', data: { path: 'disk.sock' } };
    await machine.qmp('chardev-add', { id: chardev, backend: { type: 'socket', data: { addr, server: false } } });
  }
  await machine.qmp('device_add', { driver: 'vhost-user-blk-pci', id: 'disk1', chardev, 'num-queues': 1 });
  await machine.guest('until [ -b /dev/vda ]; do sleep 0.1; done');
  await machine.requests();
  await quit(machine);
}

const UNBIND = 'cd /sys/bus/virtio/drivers/virtio_blk; device=$(echo virtio*); echo $device >unbind';
const IS_WRITETHROUGH = "grep -q 'write through' /sys/block/vda/cache_type";
const BIND = 'echo $device >bind; until [ -b /dev/vda ]; do sleep 0.1; done';

/** With QEMU. */
export const qemuScenarios: Readonly<Record<string, Scenario>> = {
  start: {
    summary: 'A kernel without firmware drivers boots, its driver uses two queues, the guest powers off.',
    queues: 2,
    async run(machine) {
      await machine.booted();
      await machine.requests();
      await machine.types('poweroff -f');
      await machine.ended();
    },
  },
  'guest-reboot': {
    summary: 'The guest reboots by itself; the VMM stays.',
    async run(machine) {
      await machine.booted();
      await machine.requests();
      await machine.types('reboot -f');
      await machine.booted();
      await machine.requests();
      await quit(machine);
    },
  },
  'system-reset': {
    summary: 'The reset button: the driver gets no word in.',
    async run(machine) {
      await machine.booted();
      await machine.requests();
      await machine.qmp('system_reset');
      await machine.booted();
      await machine.requests();
      await quit(machine);
    },
  },
  'stop-cont': {
    summary: 'The VM is stopped and goes on, twice; the driver knows nothing of it.',
    queues: 2,
    async run(machine) {
      await machine.booted();
      await machine.requests();
      for (let round = 0; round < 2; round++) {
        await machine.qmp('stop');
        await machine.qmp('cont');
        await machine.requests();
      }
      await quit(machine);
    },
  },
  savevm: {
    summary: 'savevm, which QEMU refuses a disk without LOG_SHMFD.',
    options: () => ({ more: STATE_DISK }),
    run: savevm,
  },
  'savevm-loadvm-logged': {
    summary: 'savevm, and later loadvm, of a disk with LOG_SHMFD.',
    alsoOffered: LOG_SHMFD,
    options: () => ({ more: STATE_DISK }),
    run: savevm,
  },
  migrate: {
    summary: 'A migration, which QEMU refuses a disk without LOG_SHMFD.',
    run: migrate,
  },
  'migrate-cancel-logged': {
    summary: 'A migration of a disk with LOG_SHMFD is cancelled; the guest goes on here.',
    alsoOffered: LOG_SHMFD,
    run: migrate,
  },
  'unplug-plug': {
    summary: 'The device is unplugged; another is plugged in over the same chardev, and so the same connection.',
    run: (machine) => replug(machine, 'disk'),
  },
  'unplug-plug-new-chardev': {
    summary: 'The device and its chardev are removed; another of each is added.',
    run: (machine) => replug(machine, 'again'),
  },
  reconnect: {
    summary: 'The back end ends and starts again; QEMU connects again by itself.',
    options: (version) => ({ chardev: /QEMU [1-8]\./.test(version) ? ',reconnect=1' : ',reconnect-ms=1000' }),
    async run(machine) {
      await machine.booted();
      await machine.requests();
      await machine.restartBackEnd();
      await machine.requests();
      await quit(machine);
    },
  },
  'unbind-bind': {
    summary: 'The driver is unbound from the device and bound again.',
    async run(machine) {
      await machine.booted();
      await machine.requests();
      await machine.guest(UNBIND);
      await machine.guest(BIND);
      await machine.requests();
      await quit(machine);
    },
  },
  'cache-mode': {
    summary: 'The driver chooses writethrough; then the driver is bound anew, and the guest reboots.',
    async run(machine) {
      await machine.booted();
      await machine.requests();
      // What it is already, QEMU does not pass on.
      for (const mode of ['back', 'through']) await machine.guest(`echo 'write ${mode}' >/sys/block/vda/cache_type`);
      await machine.requests();
      await machine.guest(UNBIND);
      await machine.guest(BIND);
      await machine.guest(IS_WRITETHROUGH);
      await machine.requests();
      await machine.types('reboot -f');
      await machine.booted();
      await machine.guest(IS_WRITETHROUGH);
      await machine.requests();
      await quit(machine);
    },
  },
  'firmware-kernel': {
    summary: 'SeaBIOS reads GRUB and GRUB a kernel from the disk; then the driver of that kernel takes it over.',
    options: () => ({ fromDisk: true, device: ',bootindex=0' }),
    async run(machine) {
      await machine.console(/BELFRY grub/, 'the firmware read the boot loader');
      await machine.booted();
      await machine.requests();
      await quit(machine);
    },
  },
};

/** With User-Mode Linux, which is the guest itself. */
export const umlScenarios: Readonly<Record<string, Scenario>> = {
  start: {
    summary: 'The kernel boots, its driver uses the disk, the guest powers off.',
    async run(machine) {
      await machine.booted();
      await machine.requests();
      await machine.types('poweroff -f');
      await machine.ended();
    },
  },
  'unbind-bind': {
    summary: 'The driver is unbound from the device and bound again.',
    async run(machine) {
      await machine.booted();
      await machine.requests();
      await machine.guest(UNBIND);
      await machine.guest(BIND);
      await machine.requests();
      await machine.types('poweroff -f');
      await machine.ended();
    },
  },
};

/** With qemu-io, which is the driver itself. */
export const qemuIoScenarios: Readonly<Record<string, Scenario>> = {
  start: {
    summary: 'A program opens the disk, writes and reads, and ends.',
    async run(machine) {
      await machine.types('write -P 7 64k 64k');
      await machine.console(/wrote 65536/, 'the program wrote');
      await machine.types('read -P 7 64k 64k');
      await machine.console(/read 65536/, 'the program read');
      await machine.types('quit');
      await machine.ended();
    },
  },
};
