// testing: pipe(2), for tests of received pipes. Belfry itself makes none.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, openSync } from 'node:fs';

/**
 * The reading end of a pipe between two shells: prints its process id, and keeps the pipe open until its input ends.
 */
const KEEPER = 'exec 3<&0; : | { sh -c "echo \\$PPID; cat <&3"; :; }';

/** Returns both ends of a new pipe, non-blocking. The caller owns them. */
export async function makePipe(): Promise<{ readFd: number; writeFd: number }> {
  const keeper = spawn('sh', ['-c', KEEPER], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [pid] = (await once(keeper.stdout.setEncoding('utf8'), 'data')) as [string];
  const end = `/proc/${pid.trim()}/fd/0`;
  const { O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
  const pipe = { readFd: openSync(end, O_RDONLY | O_NONBLOCK), writeFd: openSync(end, O_WRONLY | O_NONBLOCK) };
  keeper.stdin.end();
  await once(keeper, 'close');
  return pipe;
}
