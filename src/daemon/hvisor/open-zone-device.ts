// daemon/hvisor: opens a device of the zones file, as `belfry serve` opens its own.
import { openStore } from '../../stores/open-store.ts';
import { PseudoTerminal } from '../../sys/pseudo-terminal.ts';
import type { Log } from '../../virtio/log.ts';
import { blockDevice, openDevice } from '../device-source.ts';
import { isModule } from '../load-module.ts';
import type { OpenDevice } from '../open-device.ts';
import type { ZoneDevice } from './zones-file.ts';

/** Opens it on this thread, which runs Node's loop. Rejects with one line that says what to do. */
export async function openZoneDevice(entry: ZoneDevice, log: Log): Promise<OpenDevice> {
  if (entry.type === 'blk') return await openDisk(entry.image, log);
  if (entry.type === 'console') return await openTerminal(log);
  return await openDevice({ kind: 'net', port: { kind: 'tap', name: entry.tap }, mac: entry.mac }, log);
}

/** A disk of ours: an image, a block device, `mem:SIZE`, or a module. */
async function openDisk(image: string, log: Log): Promise<OpenDevice> {
  if (isModule(image))
    return await openDevice({ kind: 'module', module: image, isDisk: true, readOnly: false, options: {} }, log);
  const { store } = openStore(image);
  return blockDevice(store, {}, image);
}

/** A pseudo-terminal, whose name is logged: `screen /dev/pts/N` is the zone's console. */
async function openTerminal(log: Log): Promise<OpenDevice> {
  const terminal = PseudoTerminal.open();
  const { fd, path } = terminal;
  try {
    const opened = await openDevice(
      { kind: 'console', name: path, console: { kind: 'pty', fd, path }, ports: [] },
      log,
    );
    log(`its terminal is ${path}`);
    return {
      ...opened,
      close: async () => {
        await opened.close();
        terminal[Symbol.dispose]();
      },
    };
  } catch (error) {
    terminal[Symbol.dispose]();
    throw error;
  }
}
