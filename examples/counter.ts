// A counter: a field of the configuration space has the number of lines that the guest has written so far.
//   In the guest: exec 3<>/dev/hvc0; echo >&3; stty size <&3
//   ./belfry serve ./examples/counter.ts --socket /tmp/counter.sock
import { ConsoleDevice } from 'belfry';

const NEWLINE = '\n'.charCodeAt(0);

export default function counter(): ConsoleDevice {
  let rows = 0;
  const device = new ConsoleDevice({
    size: { cols: 80, rows },
    output(bytes) {
      for (const byte of bytes) if (byte === NEWLINE) rows++;
      // The driver is notified, and reads the field again.
      device.resize({ cols: 80, rows });
    },
  });
  return device;
}
