// Upper floor: walks every sequence of events of a small world, and goes on from each situation only once.
import { Chooser } from './chooser.ts';
import { every } from './every.ts';

/** Something small that events happen to. Whatever it chooses it asks the `Chooser` it was made with. */
export interface ExploredWorld extends AsyncDisposable {
  /** Lets one event happen, and checks what must be true after every event. */
  step(): void | Promise<void>;
  /** Everything that what happens next can depend on. Worlds with the same situation go on in the same way. */
  readonly situation: string;
  /** Comes to an end from here, and checks what must be true at the end. */
  conclude(): void | Promise<void>;
}

/** Gives the answers that it was made with, then those of `fresh`. */
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
 * Walks every sequence of events, with every answer to every choice in them, until there is no new situation, or up to
 * `depth` events. Sequences that meet in one situation go on as one. Returns how many situations there are, how many
 * events were tried from them, and how long the longest way to one is. A failure names the answers that lead to it.
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
          // What else fails now follows from this.
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
