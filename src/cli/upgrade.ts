// cli: `belfry upgrade`: has a new version take over from the one that serves, without a pause that a guest notices.
import { Command } from 'commander';
import { ControlClient, controlPath } from '../daemon/control/control-client.ts';
import { RpcError } from '../daemon/control/json-rpc.ts';
import { commandName } from './command-name.ts';

const belfry = commandName();
const EXAMPLES = `
The supervisor of "serve --supervise" starts a process from the files that are on the disk now, waits until it has loaded everything,
has the old one finish its requests and close, and the new one go on. If the new one cannot start, the old version goes on, the reason
is printed, and the exit code is 1. SIGUSR1 to the supervisor does the same.

Examples:
  ${belfry} serve blk disk.img --socket /tmp/disk.sock --supervise
  ${belfry} upgrade --socket /tmp/disk.sock
`;

export function upgradeCommand(): Command {
  return new Command('upgrade')
    .description('have a new version take over from a supervised device')
    .requiredOption('--socket <path>', 'the vhost-user socket of "serve --supervise"')
    .addHelpText('after', EXAMPLES)
    .action(async ({ socket }: { readonly socket: string }) => {
      const version = await upgrade(socket);
      console.log(`${socket}: Belfry ${version} serves`);
    });
}

/** Resolves to the version that serves. */
async function upgrade(socket: string): Promise<string> {
  try {
    using client = await ControlClient.connect(controlPath(socket));
    return (await client.call('upgrade', {})).version;
  } catch (error) {
    const { code, message } = error as Error & { readonly code?: string };
    if (error instanceof RpcError) throw new Error(`${socket} is not upgraded, and is served as before: ${message}`);
    const isNobody = code === 'ENOENT' || code === 'ECONNREFUSED';
    if (!isNobody) throw new Error(`--socket ${socket}: ${message}`);
    throw new Error(`--socket ${socket}: no supervisor serves it: was it started with "serve --supervise"?`);
  }
}
