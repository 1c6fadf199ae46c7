// test/microvm: runs test files one after the other, where KVM is real, and prints what InsideReport reads: `run-files.ts FILE...`.
import { join } from 'node:path';
import { runNode } from '../../scripts/run-node.ts';
import { fileBegins, fileEnds } from './inside-report.ts';

/** A file in which no test started or ended for so long, on a quiet machine, is killed; the others run all the same. */
const SILENCE_MS = 30_000;

process.chdir(join(import.meta.dirname, '../..'));
for (const file of process.argv.slice(2)) {
  console.log(fileBegins(file));
  let isAlive = false;
  const onLine = (line: string): void => {
    isAlive = true;
    console.log(line);
  };
  const wasAlive = (): boolean => {
    const was = isAlive;
    isAlive = false;
    return was;
  };
  const words = ['--disable-warning=ExperimentalWarning', '--test-reporter=./scripts/test-reporter.ts', file];
  const { exit } = await runNode(words, { silenceMs: SILENCE_MS, onLine, isAlive: wasAlive });
  console.log(fileEnds(exit));
}
