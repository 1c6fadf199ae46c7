// Upper floor: a thread that owns queues of a device whose session runs elsewhere.
import { workerData } from 'node:worker_threads';
import { type HostAnswer, type HostCall, serveHostCall } from './remote-queue-host.ts';
import { ServingThread, type ServingThreadSetup } from './serving-thread.ts';
import { type LinkEnd, LinkSender, receiveOn } from './thread-link.ts';

export interface QueueThreadSetup extends ServingThreadSetup {
  /** Calls of the session's thread arrive here… */
  readonly calls: LinkEnd;
  /** …and are answered on the same port, ringing this. */
  readonly answersWakeFd: number;
}

const setup = workerData as QueueThreadSetup;
const thread = new ServingThread(setup);
const answers = new LinkSender<HostAnswer>(setup.calls.port, setup.answersWakeFd);
receiveOn<HostCall>(thread.loop, setup.calls, (call) => {
  if (call.method === 'refresh') thread.refresh();
  else if (call.method === 'finish') {
    thread.finish();
    answers.send({ id: call.id });
  } else serveHostCall(thread.host, call.method, call, (answer) => answers.send(answer));
});
await thread.run();
