// cli: turns a device of the file of `belfry up` into a service, as `serve` does with its flags.
import type { DeviceConfig } from '../daemon/config/check-config.ts';
import type { Problem } from '../daemon/control/schema.ts';
import { QUEUES_DEFAULT } from '../devices/blk/block-config.ts';
import { parsePort } from '../ports/open-port.ts';
import { checkVsockPath } from '../ports/vsock-unix.ts';
import * as option from './options.ts';
import { pollMode } from './poll-option.ts';
import { rate } from './rate-option.ts';
import type { BlkFlags } from './serve-flags.ts';
import { checkDiskFlags, diskService, moduleService, rngService } from './serve-kinds.ts';
import { cardOf } from './serve-net.ts';
import type { Service } from './serve-run.ts';

/** A value of the file that no option takes. */
export class OptionProblem extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.name = 'OptionProblem';
    this.problem = problem;
  }
}

/** A device that can be opened. */
export interface PlannedDevice {
  readonly device: DeviceConfig;
  readonly allowFileMemory: boolean;
  /** Throws what opening it throws. */
  open(): Service;
}

/** Checks the options of a device, and opens nothing. Throws OptionProblem. @param isOperated there is a control socket. */
export function planDevice(device: DeviceConfig, isOperated: boolean): PlannedDevice {
  const options = new Options(device, isOperated);
  const allowFileMemory = options.flag('allow-file-memory');
  return { device, allowFileMemory, open: PLANS[device.kind](options) };
}

/** The options of a device by name, as the parsers of the command line take them. */
class Options {
  readonly #device: DeviceConfig;

  readonly isOperated: boolean;

  constructor(device: DeviceConfig, isOperated: boolean) {
    this.#device = device;
    this.isOperated = isOperated;
  }

  value<T extends string | number>(name: string): T | undefined {
    return this.#device.options[name] as T | undefined;
  }

  flag(name: string): boolean {
    return this.#device.options[name] === true;
  }

  /** An object with the value of an option, or an empty one. */
  parsed<Key extends string, T>(name: string, key: Key, parse: (text: string) => T): { readonly [K in Key]?: T } {
    const value = this.value(name);
    const result = value === undefined ? undefined : this.step(name, () => parse(String(value)));
    return (result === undefined ? {} : { [key]: result }) as { readonly [K in Key]?: T };
  }

  /** Runs `make`; its error is one of the option. */
  step<T>(name: string, make: () => T): T {
    try {
      return make();
    } catch (error) {
      const message = (error as Error).message.replace(/^--[\w-]+:? /, '');
      throw new OptionProblem({ path: ['devices', this.#device.name, name], message });
    }
  }

  get threads() {
    return { ...this.parsed('poll', 'poll', pollMode), ...this.parsed('cpus', 'cpus', option.cpuList) };
  }
}

const PLANS: Readonly<Record<DeviceConfig['kind'], (options: Options) => () => Service>> = {
  blk: (options) => {
    const flags = diskFlags(options);
    options.step('threads', () => checkDiskFlags(flags));
    return () => diskService(options.value('store') ?? '', flags);
  },
  rng: (options) => {
    const flags = { ...options.threads, ...options.parsed('limit', 'limit', rate('bps', 'burst')) };
    return () => rngService(flags);
  },
  net: (options) => {
    const port = options.step('port', () => parsePort(options.value('port') ?? ''));
    const frames = rate('pps', 'bps', 'burst');
    const limits = {
      ...options.parsed('limit', 'limit', frames),
      ...options.parsed('limit-send', 'limitSend', frames),
      ...options.parsed('limit-receive', 'limitReceive', frames),
    };
    const [mac, mtu] = [options.value<string>('mac'), options.value<number>('mtu')];
    const card = options.step('mac', () => cardOf({ ...limits, ...(mac && { mac }), ...(mtu && { mtu }) }));
    return () => ({ device: { kind: 'net', port, ...card }, threads: 1, poll: 'auto', ...options.threads });
  },
  vsock: (options) => {
    const [cid, uds] = [options.value<number>('cid') ?? 0, options.value<string>('uds') ?? ''];
    options.step('uds', () => checkVsockPath(uds));
    return () => ({ device: { kind: 'vsock', cid, uds }, threads: 1, poll: 'auto', ...options.threads });
  },
  module: (options) => {
    const module = options.value<string>('module') ?? '';
    return () => moduleService(module);
  },
};

function diskFlags(options: Options): BlkFlags {
  const parsed = {
    ...options.threads,
    ...options.parsed('serial', 'serial', option.serial),
    ...options.parsed('block-size', 'blockSize', option.blockSize),
    ...options.parsed('limit', 'limit', option.limit),
    ...options.parsed('limit-read', 'limitRead', option.limit),
    ...options.parsed('limit-write', 'limitWrite', option.limit),
    ...options.parsed('on-error', 'onError', word<NonNullable<BlkFlags['onError']>>),
    ...options.parsed('on-read-error', 'onReadError', word<NonNullable<BlkFlags['onReadError']>>),
    ...options.parsed('on-write-error', 'onWriteError', word<NonNullable<BlkFlags['onWriteError']>>),
    ...options.parsed('format', 'format', word<'raw'>),
  };
  return {
    ...{ supervise: false, once: false, stopTimeout: 0, allowFileMemory: false, json: false, quiet: false },
    // A limit may come later, over the control socket.
    ...(options.isOperated && { control: '' }),
    serial: 'belfry',
    readOnly: options.flag('read-only'),
    direct: options.flag('direct'),
    shared: options.flag('shared'),
    engine: options.value<BlkFlags['engine']>('engine') ?? 'auto',
    queues: options.value('queues') ?? QUEUES_DEFAULT,
    threads: options.value('threads') ?? 1,
    ...parsed,
  };
}

/** Of an option whose words the schema has checked. */
function word<Word extends string>(text: string): Word {
  return text as Word;
}
