// The rule that whatever can be imported from a package has a docstring, which an editor shows when the mouse rests on it.
import { posix } from 'node:path';

/** A name that a file exports, and the file where it is declared. */
export interface Exported {
  readonly name: string;
  readonly path: string;
}

/** What `export { … } from '…'` gives, under the names that are declared there. */
export function exportsOf(path: string, text: string): Exported[] {
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)';/gm)].flatMap(([, names = '', from = '']) =>
    names
      .split(',')
      .map((name) =>
        name
          .trim()
          .replace(/^type /, '')
          .replace(/ as .*/, ''),
      )
      .filter((name) => name !== '')
      .map((name) => ({ name, path: posix.join(posix.dirname(path), from) })),
  );
}

/** Whether the declaration of `name` has a docstring. False where there is no declaration. */
export function hasHoverText(name: string, text: string): boolean {
  const declared = String.raw`^export (?:abstract )?(?:async )?(?:class|interface|function\*?|const|type) ${name}\b`;
  return new RegExp(String.raw`\*/\n${declared}`, 'm').test(text.replaceAll(/^( ?\*\/)$/gm, '*/'));
}
