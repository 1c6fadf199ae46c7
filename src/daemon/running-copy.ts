// Upper floor: `from 'belfry'` in a disk somebody wrote is the copy that runs, wherever the disk's module lies.
import module from 'node:module';
import { moduleBeside } from '../sys/thread.ts';

/** What package.json exports: never its dist here, which in a checkout is missing or older than the source that runs. */
export const FRONT_DOORS: ReadonlyMap<string, URL> = new Map([
  ['belfry', moduleBeside('../index', import.meta.url)],
  ['belfry/kvm', moduleBeside('../kvm/index', import.meta.url)],
  ['belfry/testing', moduleBeside('../testing/index', import.meta.url)],
]);

let isShared = false;

/** From now on every module this thread loads gets the running copy of Belfry, whether or not one is installed beside it. */
export function shareRunningCopy(): void {
  if (isShared) return;
  isShared = true;
  module.registerHooks({
    resolve: (specifier, context, next) => next(FRONT_DOORS.get(specifier)?.href ?? specifier, context),
  });
}
