// testing: an exhaustive walk over all sequences of events in a small model, with each situation visited once.
import { Chooser } from './chooser.ts';
import { every } from './every.ts';

/** A small model in which events happen. It makes all choices with the `Chooser` of its constructor. */
export interface ExploredWorld extends AsyncDisposable {
  /** Runs one event, and checks the invariants. */
  step(): void | Promise<void>;
  /** Everything that later events can depend on, as a string. Worlds with the same situation behave the same. */
  readonly situation: string;
  /** Runs to the end, and checks what must hold there. */
  conclude(): void | Promise<void>;
}

/** Repeats recorded choices, then takes those of `fresh`. */
class Replay extends Chooser {
  readonly answers: number[];
  readonly #fresh: Chooser;
  #next = 0;

  constructor(answers: readonly number[], fresh: Chooser) {
    super();
    this.answers = [...answers];
    this.#fresh = fresh;
  }

  below(count: number): number {
    if (this.#next === this.answers.length) this.answers.push(this.#fresh.below(count));
    return this.answers[this.#next++] as number;
  }
}

/** Runs `length` events and concludes if the situation is new. Returns whether it was. */
async function walk(world: ExploredWorld, length: number, met: Set<string>): Promise<boolean> {
  for (let i = 0; i < length; i++) await world.step();
  if (met.has(world.situation)) return false;
  met.add(world.situation);
  await world.conclude();
  return true;
}

/**
 * Walks every sequence of events, with every combination of choices, until there is no new situation, or up to `depth`
 * events. Sequences that reach the same situation go on as one. Returns how many situations there are, how many events
 * were tried from them, and the length of the longest shortest way to one. A failure names the choices that lead to it.
 */
export async function explore(
  open: (choose: Chooser) => ExploredWorld,
  depth = Number.POSITIVE_INFINITY,
): Promise<{ situations: number; steps: number; longest: number }> {
  const met = new Set<string>();
  let steps = 0;
  let length = 0;
  let frontier: (readonly number[])[] = [[]];
  while (frontier.length > 0 && length < depth) {
    length++;
    const reached: number[][] = [];
    for (const answers of frontier) {
      for (const fresh of every()) {
        const replay = new Replay(answers, fresh);
        const world = open(replay);
        steps++;
        try {
          if (await walk(world, length, met)) reached.push(replay.answers);
        } catch (error) {
          // Later failures follow from this one.
          await Promise.resolve(world[Symbol.asyncDispose]()).catch(() => {});
          const where = `after ${length} events, with the answers ${replay.answers.join(' ')}`;
          throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
        }
        await world[Symbol.asyncDispose]();
      }
    }
    frontier = reached;
  }
  return { situations: met.size, steps, longest: length - (frontier.length === 0 ? 1 : 0) };
}
