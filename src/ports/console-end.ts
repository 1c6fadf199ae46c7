// ports: the interface of what a console's port leads to, where a program may come and go there.
import type { Duplex } from 'node:stream';

/** A stream whose other end another program opens and closes. What is written while nobody has it open is dropped. */
export interface ConsoleEnd extends Duplex {
  /** Whether a program has the other end open. */
  readonly isOpen: boolean;
  /** Called when a program opened or closed it: for `ConsolePort.setOpen`. */
  onOpen: ((isOpen: boolean) => void) | undefined;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}
