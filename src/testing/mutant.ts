// testing: imports a module with a mistake put into its text, to show that a test detects the mistake.
import { readFileSync } from 'node:fs';
import { type LoadHookContext, type ModuleHooks, registerHooks } from 'node:module';

/** A mistake: `from` occurs exactly once in the module, and is replaced by `to`. */
export interface Mistake {
  readonly module: URL;
  readonly from: string;
  readonly to: string;
}

const QUERY = '?mutant=';
let mutants = 0;

/** Returns the text of a module with the mistake in it. Throws an Error when `from` does not stand in it once. */
export function mutated(text: string, { module, from, to }: Mistake): string {
  const [before, after, ...more] = text.split(from);
  if (after === undefined || more.length > 0)
    throw new Error(
      `"${from}" has to stand once in ${module.pathname}, and stands ${more.length + (after === undefined ? 0 : 1)} times`,
    );
  return before + to + after;
}

/** Hooks for the module whose URL has `query`, and for its imports from its own folder. */
function hooksFor(query: string, mistake: Mistake): ModuleHooks {
  return registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      const isOurs = context.parentURL?.endsWith(query) === true && /^\.\/[^/]+$/.test(specifier);
      return isOurs ? { ...resolved, url: `${resolved.url}${query}` } : resolved;
    },
    load(url, context: LoadHookContext, next) {
      if (url !== `${mistake.module.href}${query}`) return next(url, context);
      const source = mutated(readFileSync(mistake.module, 'utf8'), mistake);
      return { ...next(url, context), source };
    },
  });
}

/**
 * Imports a new copy of `entry` and of its imports from its own folder, with the mistake in one of these files. Modules
 * of other folders are shared. Throws an Error when the text to be replaced is not there.
 */
export async function importWithMistake<Module>(entry: URL, mistake: Mistake): Promise<Module> {
  const query = `${QUERY}${++mutants}`;
  const hooks = hooksFor(query, mistake);
  try {
    return (await import(`${entry.href}${query}`)) as Module;
  } finally {
    hooks.deregister();
  }
}
