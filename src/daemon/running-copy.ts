// daemon: resolves `from 'belfry'` in a user's module to the copy of Belfry that runs, wherever the module is.
import module from 'node:module';
import { moduleBeside } from '../sys/thread.ts';

/** The exports of package.json, as the modules that run. In a checkout its dist is missing or older than the source. */
export const FRONT_DOORS: ReadonlyMap<string, URL> = new Map([
  ['belfry', moduleBeside('../index', import.meta.url)],
  ['belfry/kvm', moduleBeside('../kvm/index', import.meta.url)],
  ['belfry/testing', moduleBeside('../testing/index', import.meta.url)],
]);

let isShared = false;

/**
 * From now on every module that this thread loads imports the running copy of Belfry, even if another is installed
 * beside it.
 */
export function shareRunningCopy(): void {
  if (isShared) return;
  isShared = true;
  module.registerHooks({
    resolve: (specifier, context, next) => next(FRONT_DOORS.get(specifier)?.href ?? specifier, context),
  });
}
