// doctor: a finding about one thing that this machine has or lacks.

/** `ok`: here and usable. `absent`: not here, and serving disks needs none. `broken`: it should work and does not. */
export type State = 'ok' | 'absent' | 'broken';

export interface Finding {
  readonly name: string;
  readonly state: State;
  /** What is here, in a few words. */
  readonly found: string;
  readonly goodFor: string;
  /** How to get it, or more of it; '' where there is nothing to get. */
  readonly advice: string;
}

export interface FindingGroup {
  readonly title: string;
  readonly findings: readonly Finding[];
}
