// test/kill: preloaded with --import: puts the mistake of BELFRY_TEST_MISTAKE into the record of requests in flight.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { MISTAKES, type Mistake } from './mistakes.ts';

const MODULE = new URL('../../src/virtio/split/split-in-flight.ts', import.meta.url).href;
const { from, to } = MISTAKES[process.env.BELFRY_TEST_MISTAKE as Mistake];

registerHooks({
  load(url, context, next) {
    if (url !== MODULE) return next(url, context);
    const [before, after, ...more] = readFileSync(fileURLToPath(url), 'utf8').split(from);
    if (after === undefined || more.length > 0) throw new Error(`"${from}" does not stand once in ${url}`);
    return { ...next(url, context), source: before + to + after };
  },
});
