// daemon/hvisor: the zones file of hvisor-tool, virtio_cfg.json: zones, their memory and their devices.
import { formatMac, parseMac } from '../../devices/net/mac-address.ts';
import { parsePort } from '../../ports/open-port.ts';
import { PENDING_INTERRUPTS_MAX } from '../../transports/hvisor/bridge-layout.ts';
import type { ZoneRegion } from '../../transports/hvisor/zone-memory.ts';
import { type Located, parseJsonWithLines } from './json-with-lines.ts';
import { ZonesNode } from './zones-node.ts';

const FILE_CHARS_MAX = 1 << 20;
const ZONES_MAX = 32;
const REGIONS_MAX = 64;
const DEVICES_MAX = 64;
const PAGE_BYTES = 4096;
/** Registers and the first byte of the configuration space. */
const WINDOW_BYTES_MIN = 0x101;
const IRQ_MAX = 0xffff;

/** What a device of the file is, beside its place. */
export type ZoneDeviceKind =
  | { readonly type: 'blk'; readonly image: string }
  | { readonly type: 'console' }
  | { readonly type: 'net'; readonly tap: string; readonly mac: string };

/** A device of a zone. */
export type ZoneDevice = ZoneDeviceKind & {
  readonly address: number;
  readonly sizeBytes: number;
  readonly irq: number;
  /** Where the file has it: `virtio_cfg.json:12`. */
  readonly where: string;
};

/** A zone with what Belfry serves of it. */
export interface Zone {
  readonly id: number;
  readonly memory: readonly ZoneRegion[];
  readonly devices: readonly ZoneDevice[];
}

/** The zones of a file, and what was skipped or looks wrong, a line each. */
export interface ZonesFile {
  readonly zones: readonly Zone[];
  readonly notes: readonly string[];
}

/** Parses the text of a zones file. Throws RangeError: "FILE:LINE: KEY: what is wrong". */
export function parseZonesFile(name: string, text: string): ZonesFile {
  if (text.length > FILE_CHARS_MAX) throw new RangeError(`${name}: more than ${FILE_CHARS_MAX} characters`);
  const notes: string[] = [];
  const root = new ZonesNode({ file: name, notes }, '', parse(name, text));
  const list = root.member('zones').items(ZONES_MAX);
  root.skipOthers();
  const zones = list.map(zoneOf);
  refuseTwice(list, zones, ({ id }) => `zone ${id}`);
  return { zones, notes };
}

function parse(name: string, text: string): Located {
  try {
    return parseJsonWithLines(text);
  } catch (error) {
    throw new RangeError(`${name}:${(error as Error).message}`);
  }
}

function zoneOf(node: ZonesNode): Zone {
  const id = node.member('id').number(0, ZONES_MAX - 1);
  const regions = node.member('memory_region').items(REGIONS_MAX);
  const memory = regions.map(regionOf);
  refuseOverlaps(regions, memory, 'zonexIpa', 'zonex_ipa');
  const list = node.member('devices').items(DEVICES_MAX);
  const found = list.map((one) => ({ one, device: deviceOf(one) }));
  const served = found.flatMap(({ one, device }) => (device === undefined ? [] : [{ one, device }]));
  const [nodes, devices] = [served.map(({ one }) => one), served.map(({ device }) => device)];
  refuseOverlaps(nodes, devices, 'address', 'addr');
  refuseTwice(nodes, devices, ({ irq }) => `irq ${irq}`);
  if (devices.length > PENDING_INTERRUPTS_MAX)
    node.note(`zone ${id} has ${devices.length} devices: hvisor panics when 8 of their interrupts are pending at once`);
  node.skipOthers();
  return { id, memory, devices };
}

function regionOf(node: ZonesNode): ZoneRegion {
  const page = (key: string, least: number): number => {
    const member = node.member(key);
    const value = member.number(least);
    return value % PAGE_BYTES === 0 ? value : member.fail(`a multiple of ${PAGE_BYTES} is wanted`);
  };
  const sizeBytes = page('size', 1);
  // Offset 0 of /dev/hvisor is the bridge page.
  const region = { zone0Ipa: page('zone0_ipa', 1), zonexIpa: page('zonex_ipa', 0), sizeBytes };
  node.skipOthers();
  return region;
}

function deviceOf(node: ZonesNode): ZoneDevice | undefined {
  const type = node.member('type').text();
  if (node.optional('status')?.text() === 'disable') return undefined;
  const kind = KINDS[type];
  if (kind === undefined) {
    node.note(SKIPPED[type] ?? `the type "${type}" is not known: skipped`);
    return undefined;
  }
  const place = {
    address: node.member('addr').number(1),
    sizeBytes: node.member('len').number(WINDOW_BYTES_MIN, 0x1000),
    irq: node.member('irq').number(1, IRQ_MAX),
    where: node.where,
  };
  const device = { ...place, ...kind(node) };
  node.skipOthers();
  return device;
}

const KINDS: { readonly [type: string]: ((node: ZonesNode) => ZoneDeviceKind) | undefined } = {
  blk: (node) => ({ type: 'blk', image: node.member('img').text() }),
  console: () => ({ type: 'console' }),
  net: (node) => ({ type: 'net', tap: tapOf(node.member('tap')), mac: macOf(node.member('mac')) }),
};

const SKIPPED: { readonly [type: string]: string | undefined } = {
  gpu: 'gpu is not served: skipped',
  scmi: 'scmi is not served, it belongs to the module of hvisor-tool: skipped',
};

function tapOf(node: ZonesNode): string {
  return node.attempt((name) => parsePort(`tap:${name}`) && name, node.text());
}

/** Six numbers, as hvisor-tool has it, or one text. */
function macOf(node: ZonesNode): string {
  if (node.isText) return node.attempt((text) => formatMac(parseMac(text)), node.text());
  const bytes = node.items(6).map((byte) => byte.number(0, 255));
  if (bytes.length !== 6) node.fail(`six numbers are wanted, not ${bytes.length}`);
  const text = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  return node.attempt((mac) => formatMac(parseMac(mac)), text);
}

function refuseOverlaps<Range extends { readonly sizeBytes: number }, Key extends keyof Range>(
  nodes: readonly ZonesNode[],
  ranges: readonly Range[],
  start: Key,
  key: string,
): void {
  ranges.forEach((range, i) => {
    const [from, size] = [range[start] as number, range.sizeBytes];
    const other = ranges.findIndex((one, j) => {
      const begin = one[start] as number;
      return j < i && begin < from + size && from < begin + one.sizeBytes;
    });
    if (other >= 0) nodes[i]?.member(key).fail(`0x${from.toString(16)} is also ${nodes[other]?.path}'s`);
  });
}

function refuseTwice<Item>(nodes: readonly ZonesNode[], items: readonly Item[], nameOf: (item: Item) => string): void {
  const names = items.map(nameOf);
  names.forEach((name, i) => {
    const first = names.indexOf(name);
    if (first < i) nodes[i]?.fail(`${name} is also ${nodes[first]?.path}'s`);
  });
}
