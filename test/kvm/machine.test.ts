// The microVM on payloads of a few instructions: how it boots, what its devices answer, and each way it ends.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kvm } from '../../src/kvm/kvm.ts';
import { eventually } from '../../src/testing/patience.ts';
import { bzImageKernel, elfKernel } from '../../src/testing/payload-kernel.ts';
import type { Registers } from '../../src/transports/bus/registers.ts';
import { COMMAND_LINE, PORTS } from '../../src/vmm/address-map.ts';
import { Machine } from '../../src/vmm/machine.ts';
import { otherThreadsTurn } from './kernel-turn.ts';
import { kvmTest } from './kvm-case.ts';
import {
  CollectingConsole,
  kernelCode,
  kernelFile,
  MEMORY_BYTES,
  out,
  powerOff,
  withMachine,
} from './payload-machine.ts';

/** An address without a device: below 2 GiB, so that a payload reaches it, and above the memory. */
const DEVICE = 0x4000_0000;
/** Memory of the payload's own. */
const DATA = 0x30_0000;

const ended = (machine: Machine): Promise<unknown> => machine.ended;

/** A device that notes what it is asked. */
function noting(answer = 0): Registers & { readonly seen: string[] } {
  const seen: string[] = [];
  return {
    seen,
    read(offset, sizeBytes) {
      seen.push(`read ${offset}/${sizeBytes}`);
      return answer;
    },
    write(offset, sizeBytes, value) {
      seen.push(`write ${offset}/${sizeBytes} ${value.toString(16)}`);
    },
  };
}

for (const format of [elfKernel, bzImageKernel]) {
  kvmTest(`a kernel made by ${format.name} writes to the serial port and powers off`, async (kvm, t) => {
    const payload = kernelCode();
    for (const letter of 'Hello') out(payload.set('eax', letter.charCodeAt(0)), PORTS.serial);
    const run = async (machine: Machine, console: CollectingConsole) => [await machine.ended, console.text];
    assert.deepEqual(await withMachine(kvm, t, powerOff(payload), run, { format }), [{ how: 'power-off' }, 'Hello']);
  });
}

kvmTest(
  'the command line, the initrd, the zero page and the ACPI tables are where the kernel is told',
  async (kvm, t) => {
    const initrd = join(kernelFile(t, kernelCode()), '..', 'initrd');
    writeFileSync(initrd, 'INITRD');
    const payload = kernelCode();
    // cmd_line_ptr, ramdisk_image, acpi_rsdp_addr, "HdrS".
    for (const field of [0x228, 0x218, 0x070, 0x202]) out(payload.load('eax', 0x7000 + field), 0x510, 4);
    for (const address of [COMMAND_LINE, 0xe_0000, MEMORY_BYTES - 4096]) out(payload.load('eax', address), 0x510, 4);
    const device = noting();
    await withMachine(kvm, t, powerOff(payload), ended, {
      initrd,
      commandLine: 'quiet',
      prepare: ({ ports }) => void ports.add(0x510, 4, device),
    });
    const word = (text: string): string =>
      new DataView(new TextEncoder().encode(text).buffer).getUint32(0, true).toString(16);
    const values = [
      '20000',
      (MEMORY_BYTES - 4096).toString(16),
      'e0000',
      word('HdrS'),
      word('quie'),
      word('RSD '),
      word('INIT'),
    ];
    assert.deepEqual(
      device.seen,
      values.map((value) => `write 0/4 ${value}`),
    );
  },
);

kvmTest('string output is one write for each byte', async (kvm, t) => {
  const payload = kernelCode();
  for (let i = 0; i < 4; i++) payload.set('eax', 'four'.charCodeAt(i)).store(DATA + i, 'eax', 1);
  payload.set('esi', DATA).set('ecx', 4).set('edx', PORTS.serial).outString();
  const text = await withMachine(kvm, t, powerOff(payload), async (machine, console) => {
    await machine.ended;
    return console.text;
  });
  assert.equal(text, 'four');
});

kvmTest('what was posted to the serial port is done before what the guest waits for', async (kvm, t) => {
  const payload = kernelCode();
  for (const letter of 'abcdefgh') {
    out(payload.set('eax', letter.charCodeAt(0)), PORTS.serial);
    out(payload, PORTS.serial + 7);
    if (letter === 'd' || letter === 'h') out(payload, 0x510);
  }
  const written: string[] = [];
  const console = new CollectingConsole();
  console.write = (byte) => void written.push(String.fromCharCode(byte));
  const device: Registers = { read: () => 0, write: () => void written.push('!') };
  await withMachine(kvm, t, powerOff(payload), ended, {
    machine: { console },
    prepare: ({ ports }) => void ports.add(0x510, 1, device),
  });
  assert.equal(written.join(''), 'abcd!efgh!');
});

kvmTest('an access to memory reaches the bus; one of 8 bytes comes in two halves', async (kvm, t) => {
  const payload = kernelCode().set('eax', 0x1122_3344);
  payload
    .store(DEVICE + 4, 'eax', 4)
    .store(DEVICE + 8, 'eax', 8)
    .store(DEVICE, 'eax', 1)
    .load('ecx', DEVICE + 2, 2);
  const device = noting();
  await withMachine(kvm, t, powerOff(payload), ended, {
    prepare: ({ memory }) => void memory.add(DEVICE, 16, device),
  });
  assert.deepEqual(device.seen, [
    'write 4/4 11223344',
    'write 8/4 11223344',
    'write 12/4 0',
    'write 0/1 44',
    'read 2/2',
  ]);
});

kvmTest('where there is no device a read returns all ones, and a write is ignored', async (kvm, t) => {
  const payload = kernelCode().set('edx', 0x1234).out(4).in(4).store(DATA, 'eax');
  payload
    .store(DEVICE, 'eax')
    .load('ecx', DEVICE)
    .store(DATA + 4, 'ecx');
  const found = await withMachine(kvm, t, powerOff(payload), async (machine) => {
    await machine.ended;
    return [0, 4].map((offset) => machine.ram.view.getUint32(DATA + offset, true));
  });
  assert.deepEqual(found, [0xffff_ffff, 0xffff_ffff]);
});

kvmTest('a guest waits for a device that answers later, and goes on when it has', async (kvm, t) => {
  const payload = powerOff(out(kernelCode().set('eax', 7), 0x510).set('eax', 1).store(DATA, 'eax'));
  const answer = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const slow: Registers = {
    read: () => 0,
    write: () => {
      asked.resolve();
      return answer.promise;
    },
  };
  await withMachine(
    kvm,
    t,
    payload,
    async (machine) => {
      await asked.promise;
      await otherThreadsTurn();
      assert.equal(machine.ram.view.getUint32(DATA, true), 0, 'it went on without the answer');
      answer.resolve();
      assert.deepEqual(await machine.ended, { how: 'power-off' });
      assert.equal(machine.ram.view.getUint32(DATA, true), 1);
    },
    { prepare: ({ ports }) => void ports.add(0x510, 1, slow) },
  );
});

kvmTest('what is typed arrives, and only as fast as the guest reads', async (kvm, t) => {
  // Reads the data register once for each time the status says there is something, and ends with what it read last.
  const payload = kernelCode()
    .set('ecx', 20)
    .label('wait')
    .set('edx', PORTS.serial + 5)
    .in(1)
    .raw(0xa8, 1);
  payload.jumpIfEqual('wait').set('edx', PORTS.serial).in(1).decrement('ecx').jumpIfNotZero('wait');
  out(payload, PORTS.exit).label('off').hlt().jump('off');
  const exit = await withMachine(kvm, t, payload, (machine, console) => {
    let waiting = Uint8Array.from({ length: 20 }, (_, i) => 40 + i);
    console.onRoom = () => {
      waiting = waiting.slice(console.receive(waiting));
    };
    console.onRoom();
    assert.equal(waiting.length, 4, 'the FIFO has 16 bytes');
    return machine.ended;
  });
  assert.deepEqual(exit, { how: 'exit', code: 59 });
});

const endings: readonly [string, port: number, sizeBytes: 1 | 2, value: number, object][] = [
  ['the exit port, with the code of the guest', PORTS.exit, 1, 42, { how: 'exit', code: 42 }],
  ['the reset register', PORTS.reset, 1, 1, { how: 'reset' }],
  ['the reset line of the keyboard controller', PORTS.keyboardController, 1, 0xfe, { how: 'reset' }],
];

for (const [name, port, sizeBytes, value, exit] of endings) {
  kvmTest(`a guest ends by ${name}`, async (kvm, t) => {
    const payload = out(kernelCode().set('eax', value), port, sizeBytes).label('off').hlt().jump('off');
    assert.deepEqual(await withMachine(kvm, t, payload, ended), exit);
  });
}

kvmTest('a triple fault ends the machine with a line that says so', async (kvm, t) => {
  const exit = await withMachine(kvm, t, kernelCode().undefinedInstruction(), ended);
  assert.deepEqual(exit, { how: 'failed', why: 'the guest failed: triple fault (vCPU 0)' });
});

kvmTest('a device that throws ends the machine, not the process', async (kvm, t) => {
  const broken: Registers = {
    read: () => {
      throw new Error('this device is broken');
    },
    write: () => {},
  };
  const payload = kernelCode().set('edx', 0x510).label('again').in(1).jump('again');
  const exit = await withMachine(kvm, t, payload, (machine) => machine.ended, {
    prepare: ({ ports }) => void ports.add(0x510, 1, broken),
  });
  assert.equal(exit.how, 'failed');
  assert.match(exit.how === 'failed' ? exit.why : '', /this device is broken/);
});

/** A payload that first shows that it runs. */
const running = (): ReturnType<typeof kernelCode> => kernelCode().set('eax', 1).store(DATA, 'eax');

const never: Registers = { read: () => 0, write: () => new Promise(() => {}) };
const restless: readonly [string, (device: number) => ReturnType<typeof kernelCode>][] = [
  ['that runs in a circle', () => running().label('again').jump('again')],
  ['that sleeps', () => running().label('again').hlt().jump('again')],
  ['that asks devices all the time', () => running().set('edx', 0x80).label('again').out(1).in(4).jump('again')],
  [
    'that writes to its serial port all the time',
    () => running().set('edx', PORTS.serial).label('again').out(1).jump('again'),
  ],
  ['that waits for a device that never answers', (port) => running().set('edx', port).out(1).label('off').jump('off')],
];

for (const [name, payload] of restless) {
  kvmTest(`a guest ${name} is stopped`, async (kvm, t) => {
    const exit = await withMachine(
      kvm,
      t,
      payload(0x510),
      async (machine) => {
        await eventually('the guest runs', () => machine.ram.view.getUint32(DATA, true) === 1);
        await otherThreadsTurn();
        machine.stop();
        return machine.ended;
      },
      { prepare: ({ ports }) => void ports.add(0x510, 1, never) },
    );
    assert.deepEqual(exit, { how: 'stopped' });
  });
}

kvmTest('a console that takes nothing more holds the guest up, and lets it be stopped', async (kvm, t) => {
  const console = new CollectingConsole();
  const full = Promise.withResolvers<void>();
  console.write = () => {
    full.resolve();
    return new Promise<void>(() => {});
  };
  const payload = kernelCode().set('edx', PORTS.serial).set('eax', 46).label('again').out(1).jump('again');
  await withMachine(kvm, t, payload, () => full.promise.then(otherThreadsTurn), { machine: { console } });
});

kvmTest('memory that does not fit below the devices goes on above 4 GiB, in the same file', async (kvm, t) => {
  const memoryBytes = 4 * 2 ** 30;
  const [exit, regions] = await withMachine(
    kvm,
    t,
    powerOff(kernelCode()),
    async (machine) => [await machine.ended, machine.ram.regions()] as const,
    { machine: { memoryBytes } },
  );
  assert.deepEqual(exit, { how: 'power-off' });
  const low = 3 * 2 ** 30;
  assert.deepEqual(
    regions.map(({ fd: _, ...region }) => region),
    [
      { id: 0, fileOffset: 0, blockBytes: 4096, guestAddress: 0, sizeBytes: low },
      { id: 1, fileOffset: low, blockBytes: 4096, guestAddress: 2 ** 32, sizeBytes: 2 ** 30 },
    ],
  );
});

kvmTest('several processors: the others wait, and the end of one is the end of all', async (kvm, t) => {
  const exit = await withMachine(kvm, t, powerOff(kernelCode()), ended, { machine: { cpus: 3 } });
  assert.deepEqual(exit, { how: 'power-off' });
});

kvmTest('a machine that is given up before it boots, or cannot boot, leaves nothing behind', async (kvm, t) => {
  const notAKernel = join(kernelFile(t, kernelCode()), '..', 'text');
  writeFileSync(notAKernel, 'text');
  const giveUp = async (boot: boolean): Promise<void> => {
    await using machine = newMachine(kvm);
    if (boot)
      await assert.rejects(machine.boot({ kernel: notAKernel, initrd: undefined, commandLine: '' }), /not a kernel/);
  };
  await giveUp(false); // what is opened once and for all is open now
  const before = readdirSync('/proc/self/fd').length;
  await giveUp(true);
  await giveUp(false);
  await eventually('every descriptor is closed', () => readdirSync('/proc/self/fd').length === before);
});

kvmTest('regression: a device that fails to close keeps nothing else from being closed', async (kvm) => {
  const before = readdirSync('/proc/self/fd').length;
  const closed: string[] = [];
  const machine = newMachine(kvm);
  machine.closeAtEnd({ close: () => void closed.push('first') });
  machine.closeAtEnd({ close: () => Promise.reject(new Error('its socket is gone')) });
  machine.closeAtEnd({ close: () => void closed.push('last') });
  await assert.rejects(machine[Symbol.asyncDispose](), /its socket is gone/);
  assert.deepEqual(closed, ['last', 'first']);
  await eventually('every descriptor is closed', () => readdirSync('/proc/self/fd').length === before);
});

kvmTest('memory that cannot be had is refused at once, and no thread is left waiting', async (kvm) => {
  const options = { cpus: 1, memoryBytes: 2 ** 51, console: new CollectingConsole() };
  assert.throws(() => new Machine(kvm, options), /ENOMEM|EINVAL|EFBIG/);
  const threads = (): number => readdirSync('/proc/self/task').length;
  const before = threads();
  await eventually('the thread of its processor is gone', () => threads() < before);
});

function newMachine(kvm: Kvm): Machine {
  return new Machine(kvm, { cpus: 2, memoryBytes: MEMORY_BYTES, console: new CollectingConsole() });
}
