// daemon/hvisor: the zones file of hvisor-tool as it is, and what is wrong with one, by line and key.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJsonWithLines } from './json-with-lines.ts';
import { parseZonesFile } from './zones-file.ts';

const memory = '"memory_region": [ {"zone0_ipa":"0x50000000","zonex_ipa":"0x50000000","size":"0x30000000"} ]';
const blk = '{"type":"blk","addr":"0xa003c00","len":"0x200","irq":78,"img":"rootfs2.ext4","status":"enable"}';
const mac = '["0x00","0x16","0x3e",16,"0x10",16]';
const net = `{"type":"net","addr":"0xa003600","len":"0x200","irq":75,"tap":"tap0","mac":${mac}}`;
const console = '{"type":"console","addr":"0xa003800","len":512,"irq":"0114"}';

const file = (...devices: string[]): string =>
  `{ "zones": [ { "id": 1,\n${memory},\n"devices": [\n${devices.join(',\n')}\n] } ] }`;

test('the file of hvisor-tool, with numbers and texts of any base', () => {
  const { zones, notes } = parseZonesFile('cfg.json', file(blk, net, console));
  assert.deepEqual(notes, []);
  assert.deepEqual(zones[0]?.memory, [{ zone0Ipa: 0x5000_0000, zonexIpa: 0x5000_0000, sizeBytes: 0x3000_0000 }]);
  const place = (address: number, irq: number, line: number) => ({
    ...{ address, sizeBytes: 0x200, irq, where: `cfg.json:${line}` },
  });
  assert.deepEqual(zones[0]?.devices, [
    { ...place(0xa00_3c00, 78, 4), type: 'blk', image: 'rootfs2.ext4' },
    { ...place(0xa00_3600, 75, 5), type: 'net', tap: 'tap0', mac: '00:16:3e:10:10:10' },
    { ...place(0xa00_3800, 76, 6), type: 'console' },
  ]);
});

test('what is disabled is left out; what is not served or not known is said and skipped', () => {
  const others = [
    blk.replace('enable', 'disable'),
    '{"type":"gpu","width":1280}',
    '{"type":"scmi"}',
    '{"type":"tv"}',
    blk.replace('}', ',"colour":"red"}'),
  ];
  const { zones, notes } = parseZonesFile('cfg.json', file(...others));
  assert.equal(zones[0]?.devices.length, 1);
  assert.match(
    notes.join('\n'),
    /^cfg.json:5: zones\[0\].devices\[1\]: gpu .*\n.*:6: .* scmi .*\n.*:7: .*"tv".*\n.*:8: .*"colour"/,
  );
});

const other = blk.replace('0xa003c00', '0xa003e00');
const wrong: { readonly [line: string]: string } = {
  "cfg.json:5: zones[0].devices[1].addr: 0xa003d00 is also zones[0].devices[0]'s": file(
    blk,
    blk.replace('0xa003c00', '0xa003d00'),
  ),
  "cfg.json:5: zones[0].devices[1]: irq 78 is also zones[0].devices[0]'s": file(blk, other),
  'cfg.json:4: zones[0].devices[0].irq: 0 is not from 1 to 0xffff': file(blk.replace('78', '0')),
  'cfg.json:4: zones[0].devices[0]: "img" is missing': file(blk.replace('"img":"rootfs2.ext4",', '')),
  'cfg.json:4: zones[0].devices[0].addr: a whole number is wanted, such as 78 or "0x4e"': file(
    blk.replace('0xa003c00', 'a003c00'),
  ),
  'cfg.json:4: zones[0].devices[0].mac: six numbers are wanted, not 1': file(net.replace(mac, '[1]')),
  'cfg.json:4: zones[0].devices[0].tap: tap:a b: the name of an interface has no space, "/", ":" or "%"': file(
    net.replace('tap0', 'a b'),
  ),
  'cfg.json:2: zones[0].memory_region[0].size: a multiple of 4096 is wanted': file(blk).replace('0x30000000', '0x5001'),
  'cfg.json:2: zones[0].memory_region[0].zone0_ipa: 0 is not from 1 to 0x1fffffffffffff': file(blk).replace(
    '"0x50000000"',
    '0',
  ),
  'cfg.json:1: zones[0].id: 32 is not from 0 to 0x1f': file(blk).replace('"id": 1', '"id": 32'),
  'cfg.json:1: "zones" is missing': '{}',
  'cfg.json:1: an object { … } is wanted': '[]',
  'cfg.json:2: a "," or "}" is missing here': '{ "zones": []\n "x": 1 }',
  'cfg.json:1: the key "zones" is here twice': '{ "zones": [], "zones": [] }',
  'cfg.json:1: more than 16 values are within each other': '['.repeat(50),
};

for (const [line, text] of Object.entries(wrong))
  test(`refused: ${line}`, () => {
    assert.throws(() => parseZonesFile('cfg.json', text), { name: 'RangeError', message: line });
  });

test('two zones cannot have one number', () => {
  const zone = file(blk).slice('{ "zones": [ '.length, -' ] }'.length);
  assert.throws(
    () => parseZonesFile('c', `{"zones": [${zone},\n${zone}]}`),
    /^RangeError: c:6: zones\[1\]: zone 1 is also/,
  );
});

test('JSON is what JSON.parse takes, and nothing else', () => {
  for (const text of ['1', '-2.5e3', '"a\\n\\u00e9"', 'true', 'null', '[]', '[1, [2]]'])
    assert.deepEqual(plain(parseJsonWithLines(text)), JSON.parse(text));
  for (const text of ['', '01', '1 2', "'a'", '[1,]', '{"a" 1}', '{a: 1}', '"a', '"\\x"', 'nul', '- 1'])
    assert.throws(() => parseJsonWithLines(text), /^RangeError: 1: /, text);
});

function plain({ value }: ReturnType<typeof parseJsonWithLines>): unknown {
  return Array.isArray(value) ? value.map(plain) : value;
}
