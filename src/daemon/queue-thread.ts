// daemon: a queue thread: runs queues of a device whose session is on the device thread.
import { rehearse } from './rehearsal.ts';
import { ServingThread, type ServingThreadSetup } from './serving-thread.ts';
import { threadSetup } from './spare-threads.ts';
import { answerHostCall, type HostAnswer, type HostCall, type ThreadMethods } from './thread-host.ts';
import { type LinkEnd, LinkSender, receiveOn } from './thread-link.ts';

export interface QueueThreadSetup extends ServingThreadSetup {
  /** Where the calls of the device thread arrive. */
  readonly calls: LinkEnd;
  /** Signalled after each answer, which goes through the same port. */
  readonly answersWakeFd: number;
}

const setup = await threadSetup<QueueThreadSetup>(rehearse);
const thread = await ServingThread.open(setup);
const { host } = thread;
const methods: ThreadMethods = {
  setMemory: (regions, dirtyLog) => host.setMemory(regions, dirtyLog),
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
