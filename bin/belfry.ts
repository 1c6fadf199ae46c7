#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
// The executable: checks the runtime, then hands the arguments to src/cli.
import module from 'node:module';
import { join } from 'node:path';

// Without a listener Node opens its debugger to every local user. Its flag --disable-sigusr1 blocks the signal
// for good, and `run --hand-over` listens to it.
process.on('SIGUSR1', () => {});

const isSource = import.meta.url.endsWith('.ts');
if (Number.parseInt(process.versions.node, 10) >= 26 && module.isBuiltin('node:ffi')) {
  if (isSource) keepStrippedSources();
  const { main } = await import('../src/cli/main.ts');
  process.exitCode = await main(process.argv.slice(2));
} else {
  const advice = isSource
    ? './belfry brings its own'
    : 'in a project "npm i -D node@26", then "npx belfry …"; anywhere "npx -p node@26 -p belfry belfry …"';
  console.error(`belfry: needs Node >= 26 with node:ffi, and this is Node ${process.versions.node}: ${advice}`);
  process.exitCode = 2;
}

/** In a checkout, stripping the types would be most of the start-up time, once for each thread. */
function keepStrippedSources(): void {
  // As trusted as the sources beside it; a folder in /tmp would not be.
  process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, '../node_modules/.cache/belfry');
  module.enableCompileCache(process.env.NODE_COMPILE_CACHE);
}
