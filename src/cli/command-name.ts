// cli: the command that starts this program, as help texts and advice name it.
import { basename, delimiter, dirname } from 'node:path';

const PLAIN = /^[\w./@:+-]+$/;

/**
 * Returns the command as it can be typed again: `./belfry` (or another path) as the launcher of a checkout was called,
 * `npx belfry` under npx, else `belfry`. Quoted for a shell where it has to be.
 */
export function commandName(env: NodeJS.ProcessEnv = process.env): string {
  // Set by the launcher; argv[1] is always bin/belfry.ts.
  const calledAs = env.BELFRY_CALLED_AS;
  if (calledAs === undefined) return env.npm_command === 'exec' ? 'npx belfry' : 'belfry';
  const isOnPath = (env.PATH ?? '').split(delimiter).includes(dirname(calledAs));
  const name = isOnPath ? basename(calledAs) : calledAs;
  return PLAIN.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
}
