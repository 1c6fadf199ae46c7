// A second opinion on descriptor chains, written from §2.7.5 alone and as plainly as can be: what may a device touch?

export interface Range {
  readonly address: number;
  readonly length: number;
}

export interface WalkedChain {
  readonly readable: readonly Range[];
  readonly writable: readonly Range[];
}

export interface WalkerView {
  /** The le32 at a guest address that is in a region. */
  read32(address: number): number;
  readonly regions: readonly Range[];
  /** Guest address of the descriptor table. */
  readonly table: number;
  readonly size: number;
  readonly indirect: boolean;
}

/** More descriptors than that in one indirect table are more than a device has to take (§2.7.4.1). */
const INDIRECT_MAX = 1024;

interface Descriptor extends Range {
  readonly more: boolean;
  readonly writable: boolean;
  readonly isTable: boolean;
  readonly next: number;
}

/** What the chain from `head` names, or in a word why it is none. */
export function walkChain(view: WalkerView, head: number): WalkedChain | string {
  const descriptors = followTable(view, view.table, view.size, view.size, head);
  if (typeof descriptors === 'string') return descriptors;
  const last = descriptors.at(-1) as Descriptor;
  if (descriptors.some((descriptor) => descriptor.isTable && descriptor.more)) return 'INDIRECT and NEXT';
  if (!last.isTable) return judge(view, descriptors);
  if (!view.indirect) return 'INDIRECT not negotiated';
  if (last.length === 0 || last.length % 16 !== 0) return 'odd table';
  if (!view.regions.some((region) => contains(region, last))) return 'table outside';
  const entries = last.length / 16;
  const inner = followTable(view, last.address, entries, Math.min(entries, INDIRECT_MAX), 0);
  if (typeof inner === 'string') return inner;
  if (inner.some((descriptor) => descriptor.isTable)) return 'table in a table';
  return judge(view, [...descriptors.slice(0, -1), ...inner]);
}

/** The descriptors of one table from `first` on; a chain ends at the first table it refers to. */
function followTable(
  view: WalkerView,
  table: number,
  entries: number,
  limit: number,
  first: number,
): Descriptor[] | string {
  const found: Descriptor[] = [];
  let index = first;
  while (true) {
    if (index >= entries) return 'index out of the table';
    if (found.length === limit) return 'endless';
    const at = table + 16 * index;
    const address = view.read32(at) + view.read32(at + 4) * 2 ** 32;
    const length = view.read32(at + 8);
    const word = view.read32(at + 12);
    const bit = (n: number): boolean => ((word >>> n) & 1) === 1;
    const descriptor = { address, length, more: bit(0), writable: bit(1), isTable: bit(2), next: word >>> 16 };
    found.push(descriptor);
    if (descriptor.isTable || !descriptor.more) return found;
    index = descriptor.next;
  }
}

function judge(view: WalkerView, descriptors: readonly Descriptor[]): WalkedChain | string {
  const disordered = descriptors.some(
    (d, i) => !d.writable && descriptors.slice(0, i).some((before) => before.writable && before.length > 0),
  );
  if (disordered) return 'out of order';
  // A descriptor of no bytes names nothing.
  const named = descriptors.filter(({ length }) => length > 0);
  const readable = named.filter(({ writable }) => !writable);
  const writable = named.filter((descriptor) => descriptor.writable);
  if (named.reduce((sum, { length }) => sum + length, 0) > 2 ** 32) return 'too long';
  if (!named.every((range) => covered(view.regions, range))) return 'outside';
  return { readable, writable };
}

function contains(region: Range, { address, length }: Range): boolean {
  return address >= region.address && address - region.address + length <= region.length;
}

/** Whether every byte of `range` is in some region. */
function covered(regions: readonly Range[], range: Range): boolean {
  let at = range.address;
  // By what is left: an address past 2^53 plus a length is the same address.
  for (let left = range.length; left > 0; ) {
    const region = regions.find(({ address, length }) => at >= address && at < address + length);
    if (region === undefined) return false;
    left -= region.address + region.length - at;
    at = region.address + region.length;
  }
  return true;
}
