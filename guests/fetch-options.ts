// guests: whether and where to download what a guest needs.

export interface FetchOptions {
  /** Where packages are unpacked; `${XDG_CACHE_HOME:-~/.cache}/belfry/guests` when absent. */
  readonly cacheFolder?: string;
  /** False never touches the network: what is neither installed nor cached is missing. Default true. */
  readonly fetch?: boolean;
  /** Called with a line whenever something is downloaded. */
  readonly note?: (line: string) => void;
  readonly signal?: AbortSignal;
}
