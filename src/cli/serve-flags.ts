// cli: the flags of `belfry serve`, by kind of device.
import type { MetricsAddress } from '../daemon/metrics/metrics-server.ts';
import type { PollMode } from '../daemon/poll-mode.ts';
import type { ReadErrorPolicy, WriteErrorPolicy } from '../devices/blk/error-policy.ts';
import type { Limit } from '../stores/filters/limits.ts';
import type { EngineName } from '../stores/open-store.ts';
import type { PlaceWord } from './console-words.ts';
import type { Rate } from './rate-option.ts';

/** Flags of every kind of device. */
export interface ServeFlags {
  readonly socket?: string;
  readonly fd?: number;
  readonly supervise: boolean;
  readonly once: boolean;
  readonly stopTimeout: number;
  readonly allowFileMemory: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly log?: string;
  readonly control?: string;
  readonly metrics?: MetricsAddress;
}

/** Flags of a device that is served by threads of its own. */
export interface ThreadFlags extends ServeFlags {
  readonly poll?: PollMode;
  readonly cpus?: readonly number[];
}

export interface BlkFlags extends ThreadFlags {
  readonly threads: number;
  readonly readOnly: boolean;
  readonly format?: 'raw' | undefined;
  readonly engine: EngineName | 'auto';
  readonly direct: boolean;
  readonly shared: boolean;
  readonly queues: number;
  readonly serial: string;
  readonly blockSize?: number;
  readonly onError?: ReadErrorPolicy;
  readonly onReadError?: ReadErrorPolicy;
  readonly onWriteError?: WriteErrorPolicy;
  readonly limit?: Limit;
  readonly limitRead?: Limit;
  readonly limitWrite?: Limit;
}

export interface RngFlags extends ThreadFlags {
  readonly limit?: Rate;
}

export interface NetFlags extends ThreadFlags {
  readonly port?: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly limit?: Rate;
  readonly limitSend?: Rate;
  readonly limitReceive?: Rate;
  readonly pcap?: string;
  readonly pcapLimit: number;
}

export interface VsockFlags extends ThreadFlags {
  readonly cid?: number;
  readonly uds?: string;
}

export interface ConsoleFlags extends ServeFlags {
  readonly listen?: string;
  readonly console?: PlaceWord;
}
