// An echo with a driver in every Linux. In the guest: exec 3<>/dev/hvc0; stty raw -echo <&3; echo hello >&3; head -n 1 <&3
//   ./belfry serve ./examples/echo-console.ts --socket /tmp/echo.sock
import { ConsoleDevice } from 'belfry';

export default function echo(): ConsoleDevice {
  // Not awaited: a guest that does not read would block its own output.
  const device = new ConsoleDevice({ output: (bytes) => void device.push(bytes) });
  return device;
}
