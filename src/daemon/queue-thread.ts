// Upper floor: a thread that owns queues of a device whose session runs elsewhere.
import { workerData } from 'node:worker_threads';
import { ServingThread, type ServingThreadSetup } from './serving-thread.ts';
import { answerHostCall, type HostAnswer, type HostCall, type ThreadMethods } from './thread-host.ts';
import { type LinkEnd, LinkSender, receiveOn } from './thread-link.ts';

export interface QueueThreadSetup extends ServingThreadSetup {
  /** Calls of the session's thread arrive here… */
  readonly calls: LinkEnd;
  /** …and are answered on the same port, ringing this. */
  readonly answersWakeFd: number;
}

const setup = workerData as QueueThreadSetup;
const thread = await ServingThread.open(setup);
const { host } = thread;
const methods: ThreadMethods = {
  setMemory: (regions) => host.setMemory(regions),
  start: (index, queue) => host.start(index, queue),
  stop: (index) => host.stop(index),
  setCall: (index, call) => host.setCall(index, call),
  activate: (features) => host.activate(features),
  writeConfig: (offset, bytes) => host.writeConfig(offset, bytes),
  reset: () => host.reset(),
  refresh: async () => void thread.refresh(),
  finish: () => thread.finish(),
};
const answers = new LinkSender<HostAnswer>(setup.calls.port, setup.answersWakeFd);
receiveOn<HostCall>(thread.loop, setup.calls, async (call) => answers.send(await answerHostCall(methods, call)));
await thread.run();
thread.exit();
