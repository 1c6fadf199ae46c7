// No circles of imports, those of types included: a file can be read after what it imports, and moved without it.
import { posix } from 'node:path';
import { importsOf, isCode, roomOf, type SourceFile } from './source-file.ts';

/** Trees of files, to show that the rule finds circles and nothing else. */
export const CIRCLES: { readonly bad: readonly SourceFile[][]; readonly good: readonly SourceFile[][] } = {
  bad: [
    [
      { path: 'src/sys/a.ts', text: "import { b } from './b.ts';" },
      { path: 'src/sys/b.ts', text: "import type { A } from './a.ts';" },
    ],
    [
      { path: 'bench/a.ts', text: "export { b } from './load/b.ts';" },
      { path: 'bench/load/b.ts', text: "import {\n  type C,\n  c,\n} from './c.ts';" },
      { path: 'bench/load/c.ts', text: "const a = await import('../a.ts');" },
    ],
    [{ path: 'src/a.ts', text: "import * as a from './a.ts';" }],
  ],
  good: [
    [
      { path: 'src/a.ts', text: "import { b } from './b.ts';\nimport { c } from './c.ts';" },
      { path: 'src/b.ts', text: "import { c } from './c.ts';" },
      { path: 'src/c.ts', text: "import { a } from 'a';\n// see './a.ts'" },
    ],
    [
      { path: 'src/a.ts', text: "import { b } from './b.ts';" },
      { path: 'src/b.ts', text: '' },
      // A test may import what it likes: nothing imports a test.
      { path: 'src/a.test.ts', text: "import { a } from './a.ts';" },
    ],
  ],
};

/** Each circle as `a -> b -> a`; one for every file from which an import leads back to a file that is being visited. */
export function circlesIn(files: readonly SourceFile[]): string[] {
  const imports = new Map(files.filter(isJudged).map(({ path, text }) => [path, targetsOf(path, text)]));
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) found.push([...trail.slice(at), path].join(' -> '));
    if (at >= 0 || done.has(path)) return;
    for (const target of imports.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return found;
}

function isJudged({ path }: SourceFile): boolean {
  return roomOf(path) !== undefined && isCode(path);
}

function targetsOf(path: string, text: string): string[] {
  const relative = importsOf(text).filter(({ specifier }) => specifier.startsWith('.'));
  return relative.map(({ specifier }) => posix.join(posix.dirname(path), specifier));
}
