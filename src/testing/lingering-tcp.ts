// testing: a TCP socket whose close(2) blocks for an hour, for tests of code that closes it. socket(7), SO_LINGER.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { SOL_SOCKET } from '../sys/constants.ts';
import { check, duplicateFd, libc } from '../sys/libc.ts';
import { callScratch } from '../sys/scratch.ts';

const SO_LINGER = 13;
const LINGER_SECONDS = 3600;

/**
 * Returns its only descriptor, which the caller owns, and its peer, which reads nothing: close returns when the peer is
 * destroyed.
 */
export async function lingeringTcp(): Promise<{ fd: number; peer: Socket }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [[peer]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [[Socket], unknown];
  server.close();
  peer.on('error', () => {});
  const fd = duplicateFd((client as unknown as { _handle: { fd: number } })._handle.fd);
  callScratch.view.setInt32(0, 1, true);
  callScratch.view.setInt32(4, LINGER_SECONDS, true);
  // SAFETY: struct linger { int on, seconds } in this thread's scratch.
  check(libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, callScratch.address, 8), 'setsockopt');
  client.write(new Uint8Array(16 << 20));
  client.destroy();
  await once(client, 'close');
  return { fd, peer };
}
