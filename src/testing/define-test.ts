// testing: how a suite defines its tests: with node:test, which is loaded only then, or with another runner.

/**
 * Defines one test: `test` of node:test, of vitest, of any runner that takes a name and a function that may be async.
 */
export type DefineTest = (name: string, body: () => Promise<void>) => unknown;

/** `test` of node:test, which a plain script that imports `belfry/testing` never loads. */
export const nodeTest: DefineTest = (name, body) => process.getBuiltinModule('node:test').test(name, body);
