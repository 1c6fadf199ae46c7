// doctor: the runtime of Belfry: Node, the processors, and the cost of a wake-up.
import module from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import { measureWakeCostNs } from '../src/daemon/poll-mode.ts';
import type { Finding } from './finding.ts';

const NODE_MAJOR = 26;

export function examineRuntime(): Finding[] {
  return [node(), processors(), wakeCost()];
}

function node(): Finding {
  const hasFfi = module.isBuiltin('node:ffi');
  const usable = Number.parseInt(process.versions.node, 10) >= NODE_MAJOR && hasFfi;
  return {
    name: 'Node',
    state: usable ? 'ok' : 'broken',
    found: `${process.versions.node} ${hasFfi ? 'with' : 'without'} node:ffi (${process.execPath})`,
    goodFor: 'Belfry itself: TypeScript as it is, Linux through node:ffi',
    advice: usable ? '' : `install Node ${NODE_MAJOR} or later, from nodejs.org or with npm install node@${NODE_MAJOR}`,
  };
}

function processors(): Finding {
  const count = availableParallelism();
  const [first] = cpus();
  const model = first === undefined ? '' : ` (${first.model.trim()})`;
  return {
    name: 'processors',
    state: count > 1 ? 'ok' : 'absent',
    found: `${count}${model}, ${count > 1 ? 'one can poll beside a guest' : 'none to spare for polling'}`,
    goodFor: 'a device that polls saves the guest its kicks; on one processor it would only take time from it',
    advice: count > 1 ? '' : 'add a second processor, or serve with --poll off',
  };
}

function wakeCost(): Finding {
  const us = measureWakeCostNs() / 1000;
  return {
    name: 'wake-up',
    state: 'ok',
    found: `${us.toFixed(us < 10 ? 1 : 0)} µs from an event to a thread that slept`,
    goodFor: '--poll auto learns from it how long polling is cheaper than sleeping',
    advice: '',
  };
}
