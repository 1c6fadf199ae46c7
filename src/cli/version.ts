// cli: the version of Belfry, and the origin of a result.
import { readFileSync } from 'node:fs';
import type { Origin } from '../../bench/origin.ts';
import { commandName } from './command-name.ts';
import { shellWord } from './shell-word.ts';

/** Returns the version that package.json has. */
export function belfryVersion(): string {
  const { version } = JSON.parse(readFileSync(packageFile(), 'utf8')) as { version: string };
  return version;
}

/** Returns the origin of what this process measures. */
export function origin(): Origin {
  const words = process.argv.slice(2).map(shellWord);
  return { date: new Date().toISOString(), belfry: belfryVersion(), commandLine: [commandName(), ...words].join(' ') };
}

/** package.json is above `src` in a checkout, above `dist/src` in the published package. */
function packageFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? '../../package.json' : '../../../package.json', import.meta.url);
}
