// doctor: what is found out about one thing this machine has, or has not.

/** `ok`: here and usable. `absent`: not here, and the main job does without. `broken`: it should work and does not. */
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
