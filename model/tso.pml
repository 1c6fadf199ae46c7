/* Shared memory between processors as x86-TSO has it: what a processor stores waits in a queue of its own, first in, first
   out, until it reaches memory at a moment nobody chooses. Its own loads look into that queue first; a fence waits until it is
   empty. With -DPSO stores to different words may also overtake each other: the stores of arm64, though not its loads.
   A model says WORDS, PROCESSORS and, in a ring, MODULUS before it includes this. */

/* Deep enough that no store ever has to wait, which store() asserts: the bound hides no behaviour. A mutant without barriers
   may fill any depth; with -DFULL_QUEUE_STALLS it waits then, as hardware does. */
#define SLOTS 4

typedef StoreBuffer {
  byte word[SLOTS];
  byte value[SLOTS];
  byte count
};

byte memory[WORDS];
StoreBuffer buffered[PROCESSORS];

/* Spin allows no jump, such as the end of a loop, into a d_step. */
#define joint skip

/* A plain store. */
inline store(processor, where, what) {
  d_step {
#ifdef FULL_QUEUE_STALLS
    buffered[processor].count < SLOTS ->
#else
    assert(buffered[processor].count < SLOTS);
#endif
    buffered[processor].word[buffered[processor].count] = where;
    buffered[processor].value[buffered[processor].count] = what;
    buffered[processor].count++
  }
}

/* A plain load, of the youngest store of its own if there is one; on these machines also Atomics.load. */
#define waits(processor, at, where) (buffered[processor].count > at && buffered[processor].word[at] == where)
#define load(processor, where, into) \
  into = (waits(processor, 3, where) -> buffered[processor].value[3] : \
         (waits(processor, 2, where) -> buffered[processor].value[2] : \
         (waits(processor, 1, where) -> buffered[processor].value[1] : \
         (waits(processor, 0, where) -> buffered[processor].value[0] : memory[where]))))

/* A full barrier. */
inline fence(processor) {
  buffered[processor].count == 0
}

/* A store that nothing the same processor does later can overtake: Atomics.store. */
inline atomicStore(processor, where, what) {
#ifdef PSO
  fence(processor);
#endif
  store(processor, where, what);
  fence(processor)
}

/* Lets one waiting store of a processor reach memory, whenever it likes. */
proctype StoreQueue(byte processor) {
  byte out;
#ifdef PSO
  byte pick;
#endif
end:
  do
  :: atomic {
      buffered[processor].count > 0 ->
#ifdef PSO
      /* Any of them; of those to the same word the oldest. */
      do
      :: out + 1 < buffered[processor].count -> out++
      :: break
      od;
      pick = buffered[processor].word[out];
      out = 0;
      do
      :: buffered[processor].word[out] != pick -> out++
      :: else -> break
      od;
      pick = 0;
#endif
      memory[buffered[processor].word[out]] = buffered[processor].value[out];
      buffered[processor].count--;
      do
      :: out < buffered[processor].count ->
        buffered[processor].word[out] = buffered[processor].word[out + 1];
        buffered[processor].value[out] = buffered[processor].value[out + 1];
        out++
      :: else -> break
      od;
      buffered[processor].word[out] = 0;
      buffered[processor].value[out] = 0;
      out = 0
    }
  od
}

/* Whether an index that goes from `before` to `after` passes `event`, §2.7.7.2: vring_need_event. */
#define wrapped(index) ((index) & (MODULUS - 1))
#define passes(event, before, after) (wrapped((after) - (event) - 1) < wrapped((after) - (before)))
