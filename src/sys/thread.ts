// Cellar: starts threads that call C. Node 26 frees what V8's compiler needs to know of C functions before that has let go of it.

import { setFlagsFromString } from 'node:v8';
import { Worker, type WorkerOptions } from 'node:worker_threads';

let starting = 0;

/**
 * As `new Worker(file, options)`. V8 compiles what is hot beside the thread that runs it. A worker that ends takes the signatures of
 * node:ffi's functions with it, and then waits for the compiler, which may be reading just these: the process crashes. A thread
 * started here compiles its own code, between two turns of the loop that is hot: some milliseconds, once. Other threads are as they were.
 */
export function startThread(file: URL, options: WorkerOptions): Worker {
  starting++;
  setFlagsFromString('--no-concurrent-recompilation');
  const worker = new Worker(file, options);
  let isStarting = true;
  const onStarted = (): void => {
    if (isStarting && --starting === 0) setFlagsFromString('--concurrent-recompilation');
    isStarting = false;
  };
  // V8 looks at the flag when it makes the thread's heap, before `online`.
  worker.once('online', onStarted);
  worker.once('exit', onStarted);
  return worker;
}

/** The module `name` beside the one whose `import.meta.url` is given: its source in a checkout, its compiled form in a package. */
export function moduleBeside(name: string, importer: string): URL {
  return new URL(`${name}.${importer.endsWith('.ts') ? 'ts' : 'js'}`, importer);
}
