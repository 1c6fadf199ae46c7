// test/vhost-user/sequences: marks in a recording where firmware used a ring, of which the scenario knows nothing.
import type { SaidStep, Step } from './recording.ts';

const said = (step: Step | undefined): step is SaidStep => step !== undefined && 'from' in step;

/** Whether a message is one of those that stop a ring (status 0, disable, ask for the base), or answers one. */
function isStopping(step: Step | undefined): boolean {
  if (!said(step)) return false;
  const { request, payload, from } = step;
  if (request === 'GET_VRING_BASE') return true;
  if (request === 'SET_VRING_ENABLE') return from === 'back end' || payload?.num === 0;
  return request === 'SET_STATUS' && payload?.value === '0x0';
}

/** The steps, with a `requests` before each stop of a ring that moved since its start without one. */
export function withRingUse(steps: readonly Step[]): Step[] {
  const all: Step[] = [];
  const bases = new Map<number, number>();
  let isTold = false;
  for (const step of steps) {
    all.push(step);
    if (!said(step)) {
      isTold ||= step.event === 'requests';
      continue;
    }
    const { index, num } = step.payload ?? {};
    if (step.request === 'SET_VRING_BASE') {
      bases.set(Number(index), Number(num));
      isTold = false;
    }
    if (step.request !== 'GET_VRING_BASE' || step.from === 'front end') continue;
    if (isTold || bases.get(Number(index)) === num) continue;
    let at = all.length;
    while (isStopping(all[at - 1])) at--;
    all.splice(at, 0, { event: 'requests', text: `the firmware used ring ${index} up to ${num}` });
    isTold = true;
  }
  return all;
}
