// test/spec: §5.3 over every transport: a device that holds buffers and has input of its own is read, reset, paused, unplugged.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ConsoleDevice } from '../../src/devices/console/console-device.ts';
import { CONFIG } from '../../src/devices/console/spec.ts';
import { MmioDriver } from '../../src/testing/mmio-driver.ts';
import { PciDriver } from '../../src/testing/pci-driver.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import type { RawGuest } from '../../src/testing/raw-guest.ts';
import type { TransportDriver } from '../../src/testing/transport-driver.ts';
import { settle } from '../../src/testing/transport-world.ts';
import { VhostUserDriver } from '../../src/testing/vhost-user-driver.ts';
import { driveConsole } from './driven-console.ts';

const transports: Record<string, (device: ConsoleDevice, guest: RawGuest) => TransportDriver> = {
  'virtio-mmio': (device, guest) => new MmioDriver(device, guest),
  'virtio-mmio without doorbells': (device, guest) => new MmioDriver(device, guest, { refusesDoorbells: true }),
  'virtio-pci': (device, guest) => new PciDriver(device, guest),
  'vhost-user': (device, guest) => new VhostUserDriver(device, guest),
};

for (const [name, open] of Object.entries(transports)) {
  suite(`a console over ${name}`, () => {
    test('the guest reads and writes', async () => {
      await using world = driveConsole(open);
      const console = await world.run();
      console.submit('login: ');
      await console.written();
      await world.device.push('root\n');
      await console.reads('root\n');
      for (let i = 0; i < 100; i++) {
        console.submit(`${i} `);
        await world.device.push(`${i} `);
        await console.written();
        await console.reads(`${i} `);
      }
      assert.equal(world.output.join(''), `login: ${Array.from({ length: 100 }, (_, i) => `${i} `).join('')}`);
    });

    test('input interrupts a driver that asked for it', async () => {
      await using world = driveConsole(open);
      const console = await world.run();
      await settle();
      world.driver.tookUsedInterrupt(0);
      console.receive.queue.requestCalls();
      await world.device.push('!');
      await eventually('the interrupt', () => world.driver.tookUsedInterrupt(0));
      await console.reads('!');
    });

    test('the window changes: the driver is notified, and reads it', async () => {
      await using world = driveConsole(open);
      await world.run();
      await settle();
      world.driver.tookConfigInterrupt();
      world.device.resize({ cols: 132, rows: 43 });
      await eventually('the notification', () => world.driver.tookConfigInterrupt());
      assert.equal(await world.driver.readConfig(CONFIG.cols, 2), 132);
      assert.equal(await world.driver.readConfig(CONFIG.rows, 2), 43);
    });

    test('a reset takes the buffer back: memory is left alone, and input waits for the next driver', async () => {
      await using world = driveConsole(open);
      const first = await world.run();
      await world.device.push('before ');
      await first.reads('before ');
      await world.driver.reset();
      const memory = world.guest.memory.bytes.slice();
      await world.device.push('while nobody listens ');
      await settle();
      assert.equal(Buffer.compare(world.guest.memory.bytes, memory), 0, 'memory is left alone');
      const second = await world.run();
      await world.device.push('and after');
      await second.reads('while nobody listens and after');
    });

    test('it is unplugged with buffers held, and with a sink that does not answer: neither is waited for', async () => {
      const sink = Promise.withResolvers<void>();
      const asked = Promise.withResolvers<void>();
      const world = driveConsole(open, {
        output: () => {
          asked.resolve();
          return sink.promise;
        },
      });
      const console = await world.run();
      console.submit('nobody reads this');
      await asked.promise;
      await world[Symbol.asyncDispose]();
      assert.deepEqual(
        world.driver.lines.filter((line) => line.includes('is to stop')),
        [],
      );
      sink.resolve();
    });
  });
}

for (const name of ['virtio-mmio', 'virtio-pci'] as const) {
  test(`a console over ${name} is paused and goes on: input of the meantime is then read, once`, async () => {
    await using world = driveConsole((device, guest) =>
      name === 'virtio-mmio' ? new MmioDriver(device, guest) : new PciDriver(device, guest),
    );
    const console = await world.run();
    await world.device.push('before ');
    await world.driver.transport.registers.pause();
    const memory = world.guest.memory.bytes.slice();
    await world.device.push('during ');
    await settle();
    assert.equal(Buffer.compare(world.guest.memory.bytes, memory), 0, 'memory is left alone');
    console.submit('later');
    await world.driver.transport.registers.resume();
    await world.device.push('after');
    await console.reads('before during after');
    await console.written();
    assert.deepEqual(world.output, ['later']);
  });
}
