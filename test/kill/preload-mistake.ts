// test/kill: preloaded with --import: puts the mistake of BELFRY_TEST_MISTAKE into the record of requests in flight.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { mutated } from '../../src/testing/mutant.ts';
import { MISTAKES, type Mistake } from './mistakes.ts';

const module = new URL('../../src/virtio/split/split-in-flight.ts', import.meta.url);
const mistake = { module, ...MISTAKES[process.env.BELFRY_TEST_MISTAKE as Mistake] };

registerHooks({
  load(url, context, next) {
    if (url !== module.href) return next(url, context);
    return { ...next(url, context), source: mutated(readFileSync(module, 'utf8'), mistake) };
  },
});
