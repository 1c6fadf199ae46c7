// demo: the texts of a guest's steps, in the order the guest takes them.

export interface StepText {
  readonly name: string;
  readonly doing: string;
  readonly done: string;
  /** Its row in the table, for a step whose throughput is meaningful. */
  readonly row?: string;
  /** Bytes of one request, where requests are made one after the other: the row then has the time of one. */
  readonly requestBytes?: number;
}

const linuxSteps: readonly StepText[] = [
  { name: 'appears', doing: 'waiting for the disk', done: 'Linux is up and sees the disk' },
  { name: 'clear-start', doing: 'clearing the start of the disk', done: 'cleared the start of the disk' },
  { name: 'zero-range', doing: 'zeroing a range', done: 'zeroed a range, and nothing else' },
  { name: 'discard', doing: 'discarding a range', done: 'discarded a range' },
  { name: 'partition', doing: 'making a partition', done: 'made a partition' },
  { name: 'mkfs', doing: 'making an ext4 file system', done: 'made an ext4 file system' },
  { name: 'mount', doing: 'mounting it', done: 'mounted it' },
  {
    name: 'random-content',
    doing: 'making random files and their SHA-256 sums',
    done: 'made random files and their SHA-256 sums',
  },
  {
    name: 'write',
    doing: 'writing through the page cache, and syncing',
    done: 'wrote through the page cache, and synced',
    row: 'write through the page cache, then sync',
  },
  {
    name: 'write-direct',
    doing: 'writing past the page cache',
    done: 'wrote past the page cache (O_DIRECT)',
    row: 'write past the page cache',
  },
  { name: 'trim', doing: 'trimming the free space', done: 'trimmed the free space' },
  { name: 'drop-caches', doing: 'dropping every cache', done: 'dropped every cache' },
  { name: 'read', doing: 'reading it back', done: 'read it back', row: 'read through the page cache' },
  {
    name: 'read-direct',
    doing: 'reading past the page cache',
    done: 'read past the page cache (O_DIRECT)',
    row: 'read past the page cache',
  },
  {
    name: 'read-4k',
    doing: 'reading 4 KiB at a time',
    done: 'read 4 KiB at a time, one after the other',
    row: 'read 4 KiB at a time, as the guest sees it',
    requestBytes: 4096,
  },
  { name: 'drop-caches', doing: 'dropping every cache again', done: 'dropped every cache again' },
  { name: 'compare', doing: 'comparing the sums', done: 'compared the sums: every byte came back' },
  { name: 'unmount', doing: 'unmounting it', done: 'unmounted it' },
  { name: 'fsck', doing: 'checking the file system', done: 'checked the file system: clean' },
  { name: 'kernel-log', doing: 'looking for I/O errors in its log', done: 'found no I/O error in its kernel log' },
];

/** On a disk that is too small for a file system. */
const smallDiskSteps: readonly StepText[] = [
  {
    name: 'write-all',
    doing: 'writing every block',
    done: 'wrote every block (O_DIRECT)',
    row: 'write every block past the page cache',
  },
  { name: 'drop-caches', doing: 'dropping every cache', done: 'dropped every cache' },
  {
    name: 'compare-direct',
    doing: 'reading past the page cache, and comparing',
    done: 'read past the page cache: every byte came back',
    row: 'read past the page cache, and compare',
  },
  {
    name: 'compare-cached',
    doing: 'reading through the page cache, and comparing',
    done: 'read through the page cache: every byte came back',
    row: 'read through the page cache, and compare',
  },
];

/** On a disk that nothing may be changed on. */
const readOnlySteps: readonly StepText[] = [
  {
    name: 'mount-read-only',
    doing: 'mounting the ext4 on it, read-only',
    done: 'mounted the ext4 on it, read-only, and listed its files',
  },
  {
    name: 'read-direct-all',
    doing: 'reading it past the page cache',
    done: 'read it past the page cache (O_DIRECT)',
    row: 'read past the page cache, and sum up',
  },
  { name: 'drop-caches', doing: 'dropping every cache', done: 'dropped every cache' },
  {
    name: 'read-cached-all',
    doing: 'reading it again, through the page cache',
    done: 'read it again, through the page cache',
    row: 'read through the page cache, and sum up',
  },
  { name: 'same-sums', doing: 'comparing the sums', done: 'compared the sums: both times the same bytes' },
  { name: 'write-refused', doing: 'trying to write', done: 'a write was refused' },
];

const builtInSteps: readonly StepText[] = [
  {
    name: 'load-write',
    doing: 'writing 256 KiB at a time',
    done: 'wrote 256 KiB at a time, 16 in flight',
    row: 'write 256 KiB at a time, 16 in flight',
  },
  {
    name: 'load-read',
    doing: 'reading 256 KiB at a time',
    done: 'read 256 KiB at a time, 16 in flight',
    row: 'read 256 KiB at a time, 16 in flight',
  },
  {
    name: 'load-read-4k',
    doing: 'reading 4 KiB at a time',
    done: 'read 4 KiB at random, one after the other',
    row: 'read 4 KiB at random, as the driver sees it',
    requestBytes: 4096,
  },
  {
    name: 'load-verify',
    doing: 'writing, reading back and comparing at random',
    done: 'wrote, read back, compared: every word is right',
    row: 'write, read back and compare, 4 KiB at random',
  },
  {
    name: 'load-read-sector',
    doing: 'reading 512 bytes at a time',
    done: 'read 512 bytes at random, one after the other',
    row: 'read 512 bytes at random, as the driver sees it',
    requestBytes: 512,
  },
  {
    name: 'load-verify-sector',
    doing: 'writing, reading back and comparing at random',
    done: 'wrote, read back, compared: every word is right',
    row: 'write, read back and compare, 512 bytes at random',
  },
];

/** The order of each kind of guest and disk. */
const LISTS = { format: linuxSteps, small: smallDiskSteps, 'read-only': readOnlySteps, 'built-in': builtInSteps };
export type StepList = keyof typeof LISTS;

/** Every Linux guest begins and ends with these steps. */
const FIRST = linuxSteps[0] as StepText;
const LAST = linuxSteps.at(-1) as StepText;

/** Finds the texts of steps as they come; the same name may come twice. */
export class StepTexts {
  readonly #texts: readonly StepText[];
  #next = 0;

  constructor(list: StepList) {
    const texts = LISTS[list];
    this.#texts = list === 'small' || list === 'read-only' ? [FIRST, ...texts, LAST] : texts;
  }

  /** Returns the text of the step that has ended; for one that is not in the list, its name. */
  take(name: string): StepText {
    const later = this.#texts.findIndex((text, i) => i >= this.#next && text.name === name);
    const index = later >= 0 ? later : this.#texts.findIndex((text) => text.name === name);
    if (index < 0) return { name, doing: name, done: name };
    this.#next = index + 1;
    return this.#texts[index] as StepText;
  }

  /** What comes after the step taken last. */
  get doing(): string {
    return this.#texts[this.#next]?.doing ?? '';
  }
}
