// Upper floor: what a person types to call this program, for help texts and advice.
import { basename, delimiter, dirname } from 'node:path';

const PLAIN = /^[\w./@:+-]+$/;

/**
 * Returns the command as it can be typed again: `./belfry` (or any other path) as the launcher of a checkout was called,
 * `npx belfry` under npx, else `belfry`. Quoted for a shell where it has to be.
 */
export function commandName(env: NodeJS.ProcessEnv = process.env): string {
  // Set by the launcher: in here everything is called bin/belfry.ts.
  const calledAs = env.BELFRY_CALLED_AS;
  if (calledAs === undefined) return env.npm_command === 'exec' ? 'npx belfry' : 'belfry';
  const isOnPath = (env.PATH ?? '').split(delimiter).includes(dirname(calledAs));
  const name = isOnPath ? basename(calledAs) : calledAs;
  return PLAIN.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
}
