// npm run fuzz: a hostile driver against the device side, from a seed on, for some seconds.
import { parseArgs } from 'node:util';
import { fuzz } from '../test/fuzz/fuzz.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 40)) },
    seconds: { type: 'string', default: '60' },
    rounds: { type: 'string', default: 'Infinity' },
  },
});
const seed = Number(values.seed);
console.log(`seed ${seed}`);
const startedMs = performance.now();
const { rounds, chains, failure } = await fuzz(seed, Number(values.seconds) * 1000, Number(values.rounds));
const seconds = (performance.now() - startedMs) / 1000;
console.log(
  `${rounds} rounds, ${chains} chains in ${seconds.toFixed(1)} s: ${Math.round((chains / seconds) * 60)} a minute`,
);
if (failure !== undefined) {
  console.error(failure);
  process.exitCode = 1;
}
