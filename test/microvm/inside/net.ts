// test/microvm/inside: a network card of `belfry run`, whose cable ends in this process: the guest pings it.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../guest/guest-case.ts';
import { MicroVm } from '../micro-vm.ts';

const OUR_MAC = [0x52, 0x54, 0, 0, 0, 0x99];
const OUR_ADDRESS = [10, 6, 0, 1];

/** What a station with one address answers: ARP (RFC 826), and echo requests (RFC 792). */
function answerTo(frame: Buffer): Buffer | undefined {
  const from = frame.subarray(6, 12);
  const type = frame.readUInt16BE(12);
  if (type === 0x0806 && frame.subarray(38, 42).equals(Buffer.from(OUR_ADDRESS))) {
    const arp = [0, 1, 8, 0, 6, 4, 0, 2, ...OUR_MAC, ...OUR_ADDRESS, ...frame.subarray(22, 32)];
    return Buffer.from([...from, ...OUR_MAC, 8, 6, ...arp, ...new Uint8Array(18)]);
  }
  const isEcho = type === 0x0800 && frame[23] === 1 && frame[34] === 8;
  if (!isEcho) return undefined;
  const answer = Buffer.from([...from, ...OUR_MAC, ...frame.subarray(12)]);
  answer.set(frame.subarray(30, 34), 26);
  answer.set(frame.subarray(26, 30), 30);
  // The type becomes 0 instead of 8; the checksum is a sum in ones' complement.
  answer[34] = 0;
  const sum = frame.readUInt16BE(36) + 0x0800;
  answer.writeUInt16BE((sum & 0xffff) + (sum >> 16), 36);
  return answer;
}

/** The other end of `listen:PATH`, in QEMU's framing. */
function station(path: string): Disposable {
  const socket = connect(path);
  let bytes: Buffer = Buffer.alloc(0);
  socket.on('data', (more: Buffer) => {
    bytes = Buffer.concat([bytes, more]);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
      const end = 4 + bytes.readUInt32BE(0);
      const answer = answerTo(bytes.subarray(4, end));
      bytes = bytes.subarray(end);
      if (answer === undefined) continue;
      const length = Buffer.alloc(4);
      length.writeUInt32BE(answer.length);
      socket.write(Buffer.concat([length, answer]));
    }
  });
  socket.on('error', () => {});
  return { [Symbol.dispose]: () => socket.destroy() };
}

async function ping(t: TestContext, transport: string): Promise<void> {
  const cable = join(await testFolder(t, '/dev/shm'), 'cable');
  await using vm = new MicroVm({ words: ['--transport', transport, '--net', `listen:${cable}`] });
  await vm.shows(/BELFRY up/);
  using _station = station(cable);
  vm.type('ip addr add 10.6.0.2/24 dev eth0; ip link set eth0 up');
  vm.type('until ping -c 1 -W 1 10.6.0.1 >/dev/null; do :; done; ping -c 5 -s 1400 -i 0.2 10.6.0.1');
  await vm.shows(/5 packets transmitted, 5 packets received, 0% packet loss/);
  vm.type('exit');
  const { code, everything } = await vm.ended();
  assert.equal(code, 0, everything);
}

for (const transport of ['mmio', 'pci'])
  test(`virtio-${transport}: a guest with --net pings the other end of its cable`, (t) => ping(t, transport));
