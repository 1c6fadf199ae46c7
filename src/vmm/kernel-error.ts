// The microVM: this kernel cannot be booted, or not in this memory. One line that says why and what to do.

export class KernelError extends Error {
  readonly code = 'BELFRY_KERNEL';

  constructor(message: string) {
    super(message);
    this.name = 'KernelError';
  }
}

/** Bytes as a person compares them with --memory, rounded up. */
export function mib(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
