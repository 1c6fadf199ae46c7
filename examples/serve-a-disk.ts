// Serves a disk from a plain script, without the command line. It needs Node 26: ./belfry leaves one in node_modules.
//   node_modules/.bin/node --disable-warning=ExperimentalWarning examples/serve-a-disk.ts /tmp/disk.sock
import { BlockDevice, log, memory, serve } from '../src/index.ts'; // in a project of your own: from 'belfry'

const socket = process.argv[2] ?? '/tmp/belfry.sock';
const logged = log({ line: (text) => console.log(text) });
const server = serve(new BlockDevice(logged(memory(64 * 1024 * 1024))), { vhostUser: socket });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close());
console.log(`listening on ${socket}`);

await server.closed;
