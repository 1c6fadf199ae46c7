// virtio-console: the size of a console's window.

/** A window, in characters. */
export interface ConsoleSize {
  readonly cols: number;
  readonly rows: number;
}

/** Throws RangeError for a size that the two fields of 16 bits cannot hold. */
export function checkSize({ cols, rows }: ConsoleSize): void {
  const isSize = (count: number): boolean => Number.isInteger(count) && count >= 0 && count <= 0xffff;
  if (!isSize(cols) || !isSize(rows))
    throw new RangeError(`a window of ${cols} columns and ${rows} rows; whole numbers up to 65535 are wanted`);
}
