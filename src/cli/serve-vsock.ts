// cli: `serve vsock`: sockets between a guest and UNIX sockets of the host.
import { checkVsockPath } from '../ports/vsock-unix.ts';
import type { VsockFlags } from './serve-flags.ts';
import { runService } from './serve-run.ts';
import { asUsage, UsageError } from './usage-error.ts';

export async function serveVsock(flags: VsockFlags): Promise<void> {
  const { cid, uds, socket, poll = 'auto', cpus } = flags;
  if (cid === undefined) throw new UsageError('--cid N is needed: the address of the guest, 3 for the first');
  if (uds === undefined) throw new UsageError('--uds PATH is needed: the UNIX socket of the host’s side');
  if (uds === socket) throw new UsageError(`--uds ${uds}: that is the vhost-user socket; another path is needed`);
  try {
    checkVsockPath(uds);
  } catch (error) {
    throw asUsage(error, '--uds');
  }
  await runService(flags, () => ({
    device: { kind: 'vsock', cid, uds },
    threads: 1,
    poll,
    ...(cpus && { cpus }),
  }));
}
