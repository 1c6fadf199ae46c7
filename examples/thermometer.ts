// A thermometer on a console. In the guest: exec 3<>/dev/hvc0; echo '?' >&3; head -n 1 <&3
//   SENSOR=/sys/class/thermal/thermal_zone0/temp ./belfry serve ./examples/thermometer.ts --socket /tmp/thermometer.sock
import { readFile } from 'node:fs/promises';
import { ConsoleDevice } from 'belfry';

const QUESTION = '?'.charCodeAt(0);

/** @param path a file with thousandths of a degree, as Linux has it. */
export default function thermometer(path = process.env.SENSOR): ConsoleDevice {
  if (path === undefined) throw new Error('set SENSOR to a file like /sys/class/thermal/thermal_zone0/temp');
  const device = new ConsoleDevice({
    async output(bytes) {
      // A terminal echoes what it receives, so that only a question is answered.
      if (!bytes.includes(QUESTION)) return;
      const text = await readFile(path, 'utf8').catch((error: Error) => error.message);
      const celsius = Number.parseInt(text, 10) / 1000;
      // Not awaited: a guest that asks and does not read would block its own next question.
      void device.push(Number.isNaN(celsius) ? `${text.trim()}\n` : `${celsius.toFixed(1)} °C\n`);
    },
  });
  return device;
}
