// cli: opens a network card of `belfry run`, and attaches it to the machine.
import { NetDevice } from '../devices/net/net-device.ts';
import { formatPort, openPort } from '../ports/open-port.ts';
import { type DeviceEnvironment, plugDevice } from '../vmm/plug-device.ts';
import { Passt } from './passt.ts';
import type { PortWord } from './run-flags.ts';

/** A network card whose port is open. `plug` passes it to a machine, which closes it at its end. */
export interface RunNet {
  plug(environment: DeviceEnvironment): Promise<undefined>;
  close(): Promise<void>;
}

/** Opens the port, and starts a passt for `user`. Throws SystemError or Error that says what to do. */
export async function openRunNet(word: PortWord): Promise<RunNet> {
  const passt = word === 'user' ? await Passt.start() : undefined;
  const description = word === 'user' ? ({ kind: 'stream', path: passt?.path ?? '' } as const) : word;
  try {
    const device = new NetDevice({ port: openPort(description) });
    const close = async (): Promise<void> => {
      await device.close();
      passt?.stop();
    };
    const name = word === 'user' ? word : formatPort(word);
    return {
      async plug(environment) {
        environment.machine.closeAtEnd({ close });
        if (passt !== undefined) passt.onEnd = (why) => environment.log(`user: ${why}; the guest has no network`);
        await plugDevice(device, name, environment);
      },
      close,
    };
  } catch (error) {
    passt?.stop();
    throw error;
  }
}
