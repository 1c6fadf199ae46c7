// What the rules of the house judge: a file of the tree, with its path from the root.

export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** A rule with its own proof: it has something to say about each of `bad`, and nothing about `good`. */
export interface Rule {
  readonly name: string;
  appliesTo(path: string): boolean;
  /** One line for each thing that is wrong. */
  findings(file: SourceFile): string[];
  readonly bad: readonly SourceFile[];
  readonly good: readonly SourceFile[];
}

export const isCode = (path: string): boolean => path.endsWith('.ts');
export const isTest = (path: string): boolean => path.endsWith('.test.ts');

/** The room of a file: its folder under src/ or beside it, or its own name for a file that stands in src/ alone. */
export function roomOf(path: string): string | undefined {
  return /^(?:src\/|(?=(?:bench|guests|demo|doctor)\/))([^/.]+)/.exec(path)?.[1];
}

/** The text without what is in comments and quotes. */
export function withoutProse(text: string): string {
  return text.replaceAll(/\/\/.*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, '');
}

export interface Import {
  readonly specifier: string;
  readonly isType: boolean;
}

/** What `text` imports or exports from elsewhere, types and `import()` included. */
export function importsOf(text: string): Import[] {
  const statements = text.matchAll(/^(?:import|export)\s(?:[^'";]*?\sfrom\s)?'([^']+)'|\bimport\('([^']+)'\)/gm);
  return [...statements].map(([statement, named, called]) => ({
    specifier: named ?? called ?? '',
    isType: /^(?:import|export) type /.test(statement),
  }));
}
