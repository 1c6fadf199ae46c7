// sys: starts worker threads that call C, without the crash of Node 26 when such a thread exits.

import { setFlagsFromString } from 'node:v8';
import { Worker, type WorkerOptions } from 'node:worker_threads';

let starting = 0;

/**
 * As `new Worker(file, options)`, for a thread that calls C. V8 compiles hot code on another thread. A worker that exits frees the signatures of
 * node:ffi's functions before it waits for that compiler, which may still read them: the process crashes. A thread
 * started here compiles its hot code itself, which pauses it once for some milliseconds. Other threads are not
 * affected.
 */
export function startThread(file: URL | string, options: WorkerOptions): Worker {
  starting++;
  setFlagsFromString('--no-concurrent-recompilation');
  const worker = new Worker(file, options);
  let isStarting = true;
  const onStarted = (): void => {
    if (isStarting && --starting === 0) setFlagsFromString('--concurrent-recompilation');
    isStarting = false;
  };
  // V8 reads the flag when it creates the thread's heap, before `online`.
  worker.once('online', onStarted);
  worker.once('exit', onStarted);
  return worker;
}

/**
 * The module `name` beside the one whose `import.meta.url` is given: its source in a checkout, its compiled form in a
 * package.
 */
export function moduleBeside(name: string, importer: string): URL {
  return new URL(`${name}.${importer.endsWith('.ts') ? 'ts' : 'js'}`, importer);
}
