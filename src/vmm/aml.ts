// vmm: an encoder for the part of ACPI's machine language (AML) that this machine's devices need. ACPI 6.5,
// chapter 20. Pure.

/** A term, encoded. */
export type Aml = readonly number[];

const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const QWORD_PREFIX = 0x0e;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const EXTENDED_PREFIX = 0x5b;
const DEVICE_OP = 0x82;
const ROOT = '\\';

const littleEndian = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

const ascii = (text: string): number[] => [...text].map((letter) => letter.charCodeAt(0));

/** §20.2.4: the length of a package, this field included. Throws RangeError. */
export function packageLength(contentBytes: number): Aml {
  if (contentBytes + 1 < 0x40) return [contentBytes + 1];
  const extra = [1, 2, 3].find((count) => contentBytes + 1 + count < 2 ** (4 + 8 * count));
  if (extra === undefined) throw new RangeError(`${contentBytes} bytes are more than an AML package holds`);
  const length = contentBytes + 1 + extra;
  return [(extra << 6) | (length & 0xf), ...littleEndian(Math.floor(length / 16), extra)];
}

const packaged = (content: Aml): Aml => [...packageLength(content.length), ...content];

/** §20.2.2: up to four of A-Z, 0-9 and _, padded with _; a backslash in front is the root. Throws RangeError. */
export function nameString(name: string): Aml {
  const root = name.startsWith(ROOT) ? [ROOT.charCodeAt(0)] : [];
  const segment = name.slice(root.length);
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new RangeError(`"${name}" is no name of AML`);
  return [...root, ...ascii(segment.padEnd(4, '_'))];
}

/** An integer, in the fewest bytes. */
export function integer(value: number): Aml {
  if (value === 0) return [ZERO_OP];
  if (value === 1) return [ONE_OP];
  if (value <= 0xff) return [BYTE_PREFIX, value];
  if (value <= 0xffff) return [WORD_PREFIX, ...littleEndian(value, 2)];
  if (value <= 0xffff_ffff) return [DWORD_PREFIX, ...littleEndian(value, 4)];
  return [QWORD_PREFIX, ...littleEndian(value, 8)];
}

export function string(text: string): Aml {
  return [STRING_PREFIX, ...ascii(text), 0];
}

/**
 * An EISA id such as PNP0501, packed into 32 bits: three letters of 5 bits, four hexadecimal digits, big-endian. Throws
 * RangeError.
 */
export function eisaId(id: string): Aml {
  const [, letters = '', digits = ''] = /^([A-Z]{3})([0-9A-F]{4})$/.exec(id) ?? [];
  if (letters === '') throw new RangeError(`"${id}" is no EISA id`);
  const [a = 0, b = 0, c = 0] = ascii(letters).map((letter) => letter - 0x40);
  const product = Number.parseInt(digits, 16);
  return [DWORD_PREFIX, (a << 2) | (b >> 3), ((b & 7) << 5) | c, product >> 8, product & 0xff];
}

export function name(label: string, value: Aml): Aml {
  return [NAME_OP, ...nameString(label), ...value];
}

export function scope(label: string, ...terms: readonly Aml[]): Aml {
  return [SCOPE_OP, ...packaged([...nameString(label), ...terms.flat()])];
}

export function device(label: string, ...terms: readonly Aml[]): Aml {
  return [EXTENDED_PREFIX, DEVICE_OP, ...packaged([...nameString(label), ...terms.flat()])];
}

/** A list of values: a package in AML. */
export function list(...values: readonly Aml[]): Aml {
  return [PACKAGE_OP, ...packaged([values.length, ...values.flat()])];
}

/** §19.6.114: a buffer of resource descriptors, with the end tag. */
export function resources(...descriptors: readonly Aml[]): Aml {
  // A checksum of 0 in the end tag: "the resource data is treated as if the checksum operation succeeded" (§6.4.2.9).
  const bytes = [...descriptors.flat(), 0x79, 0];
  return [BUFFER_OP, ...packaged([...integer(bytes.length), ...bytes])];
}

/** §6.4.2.5: fixed ports, decoded in 16 bits. */
export function ioPorts(port: number, count: number): Aml {
  return [0x47, 1, ...littleEndian(port, 2), ...littleEndian(port, 2), 1, count];
}

/** §6.4.3.4: read-write memory at a fixed 32-bit address. */
export function fixedMemory(start: number, sizeBytes: number): Aml {
  return [0x86, 9, 0, 1, ...littleEndian(start, 4), ...littleEndian(sizeBytes, 4)];
}

/** §6.4.3.6: an exclusive interrupt line, edge-triggered and active high. */
export function edgeInterrupt(gsi: number): Aml {
  const [consumer, edge] = [1, 2];
  return [0x89, 6, 0, consumer | edge, 1, ...littleEndian(gsi, 4)];
}

const ADDRESS_SPACE = { memory: 0, ports: 1, busNumbers: 2 } as const;

/** §6.4.3.5: a fixed range that a bridge forwards to its bus. `end` is exclusive. */
export function passedOn(what: keyof typeof ADDRESS_SPACE, start: number, end: number): Aml {
  const fixed = 0x0c;
  // Memory: read-write, not cached. Ports: the whole range.
  const typeFlags = { memory: 1, ports: 3, busNumbers: 0 }[what];
  const [tag, bytes] = what === 'memory' ? [0x87, 4] : [0x88, 2];
  const words = [0, start, end - 1, 0, end - start].flatMap((value) => littleEndian(value, bytes));
  return [tag, ...littleEndian(3 + words.length, 2), ADDRESS_SPACE[what], fixed, typeFlags, ...words];
}
