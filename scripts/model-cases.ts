// The cases of `npm run models`: each model, which must hold, and its mutants, each of which must break its property.

/** One search of one model. */
export interface ModelCase {
  /** The file in model/, without its ending. */
  readonly model: string;
  readonly variant: string;
  /** Macros, as in `spin -DNAME=VALUE`. */
  readonly defines: readonly string[];
  /** The `ltl` formula that is judged under weak fairness, instead of assertions and deadlocks. */
  readonly formula?: string;
  /** The property this mutant must break: the comment of an assertion, or DEADLOCK. Absent: everything must hold. */
  readonly breaks?: string;
}

/** Broken by a mutant in which a process waits for ever, and by one that breaks a formula. */
export const DEADLOCK = 'no deadlock';
export const formulaOf = (name: string): string => `ltl ${name}`;

type Holds = readonly [variant: string, defines: readonly string[], formula?: string];
type Mutant = readonly [macro: string, breaks: string, defines?: readonly string[], formula?: string];

function casesOf(model: string, holds: readonly Holds[], mutants: readonly Mutant[]): ModelCase[] {
  return [
    ...holds.map(([variant, defines, formula]) => ({ model, variant, defines, ...(formula && { formula }) })),
    ...mutants.map(([macro, breaks, defines = [], formula]) => ({
      model,
      variant: [macro.toLowerCase().replaceAll('_', '-'), ...defines.filter((name) => name === 'FLAGS')].join(' '),
      defines: [`MUTANT_${macro}`, ...defines],
      breaks: formula === undefined ? breaks : formulaOf(formula),
      ...(formula && { formula }),
    })),
  ];
}

const KICK = 'a kick is lost';
const CALL = 'a call is lost';
const STOPPED = 'stopped does not mean stopped';

const handshake = casesOf(
  'handshake',
  [
    ['EVENT_IDX, larger ring', ['SIZE=4', 'DRAIN_MAX=3']],
    ['EVENT_IDX, completed later', ['LATER']],
    ['flags, completed later', ['LATER', 'FLAGS', 'REQUESTS=3']],
    ['EVENT_IDX', []],
    ['flags', ['FLAGS']],
    ['EVENT_IDX, stores reordered', ['PSO']],
    ['flags, stores reordered', ['PSO', 'FLAGS']],
    ['EVENT_IDX, served in the end', ['LIVE', 'REQUESTS=3'], 'served'],
    ['flags, served in the end', ['LIVE', 'REQUESTS=3', 'FLAGS'], 'served'],
  ],
  [
    ['ARM_WITHOUT_BARRIER', KICK],
    ['ARM_WITHOUT_BARRIER', KICK, ['FLAGS']],
    ['ARM_ONE_LATE', KICK],
    ['NO_SECOND_LOOK', KICK],
    ['NO_SECOND_LOOK', KICK, ['FLAGS']],
    ['LOOK_BEFORE_ARM', KICK],
    ['LOOK_BEFORE_ARM', KICK, ['FLAGS']],
    ['COMPARE_WITHOUT_WRAP', KICK],
    ['CLEAR_LATE', KICK],
    ['CLEAR_LATE', '', ['LIVE', 'REQUESTS=3'], 'served'],
    ['YIELD_WITHOUT_TASK', KICK],
    ['COUNT_WITHOUT_WRAP', 'more requests than the queue has room for'],
    ['HEAD_BEFORE_INDEX', 'a request is lost, doubled or not there yet'],
    ['DRIVER_KICKS_WITHOUT_BARRIER', KICK],
    ['PUBLISH_WITHOUT_BARRIER', CALL, ['FULL_QUEUE_STALLS']],
    ['PUBLISH_WITHOUT_BARRIER', CALL, ['FULL_QUEUE_STALLS', 'FLAGS']],
    ['ASK_BEFORE_PUBLISH', CALL],
    ['ASK_BEFORE_PUBLISH', CALL, ['FLAGS']],
    ['CALL_BEFORE_PUBLISH', CALL],
    ['PART_WITHOUT_ASKING', CALL],
    ['DRIVER_ASKS_WITHOUT_BARRIER', CALL, ['FULL_QUEUE_STALLS']],
    ['INDEX_OVERTAKES_ELEMENT', 'a completion is doubled or not there yet', ['PSO']],
    ['PUBLISH_AT_THE_END', 'the first completion waits for the last', ['BATCH_MAX=1']],
  ],
);

const few = ['MESSAGES=4', 'REQUESTS=2'] as const;
const session = casesOf(
  'session',
  [
    ['any five messages', ['REQUESTS=2']],
    ['any four, three requests', ['MESSAGES=4']],
    ['any four, enabled from the start', ['ENABLED_FROM_THE_START', ...few]],
    ['any four, a device that throws', ['DEVICE_THROWS', ...few]],
    ['served in the end', ['LIVE', ...few], 'served'],
  ],
  [
    ['KICK_READ_WHILE_DISABLED', KICK, few],
    ['KICK_READ_WHILE_DISABLED', '', ['LIVE', ...few], 'served'],
    ['NO_LOOK_ON_START', KICK, few],
    ['NO_CALL_ON_START', CALL, ['REQUESTS=1']],
    ['NO_CALL_ON_SET', CALL, few],
    ['ANSWER_BEFORE_IDLE', STOPPED, few],
    ['TASK_OUTLIVES_STOP', STOPPED, few],
    ['KICK_KEPT_AFTER_BASE', STOPPED, few],
    ['STOP_WITHOUT_HALT', 'the base is wrong', few],
    ['BASE_NOT_KEPT', 'the base is wrong', few],
    ['START_FROM_ZERO', 'a request is lost or doubled', few],
    ['BROKEN_TRIED_AGAIN', 'a broken ring is tried again', ['DEVICE_THROWS', ...few]],
    ['THROWN_STAYS_IN_FLIGHT', DEADLOCK, ['DEVICE_THROWS', ...few]],
  ],
);

const one = ['MESSAGES=1'] as const;
const endless = ['ENDLESS', 'SIZE=1', 'IDLE_LOOKS=1', ...one] as const;
const eventLoop = casesOf(
  'event-loop',
  [
    ['EVENT_IDX, two messages', ['IDLE_LOOKS=1']],
    ['EVENT_IDX', one],
    ['flags', ['FLAGS', ...one]],
    ["inside Node's loop", ['RIDE', ...one]],
    ['heard while a driver never stops', endless, 'heard'],
    ["heard inside Node's loop", [...endless, 'RIDE'], 'heard'],
  ],
  [
    ['ARM_WITHOUT_BARRIER', KICK, ['FULL_QUEUE_STALLS', ...one]],
    ['ARM_WITHOUT_BARRIER', KICK, ['FULL_QUEUE_STALLS', 'FLAGS', ...one]],
    ['LEAVE_WITHOUT_REARM', KICK, one],
    ['NO_LOOK_AFTER_REARM', KICK, one],
    ['NO_LOOK_AFTER_REARM', KICK, ['FLAGS', ...one]],
    ['SLEEP_ON_TASKS', KICK, ['DRAIN_MAX=1', ...one]],
    ['NO_LOOK_ON_START', 'a ring is not looked at', one],
    ['TASK_OUTSIDE_TURN_UNHEARD', 'a ring is not looked at', ['RIDE', ...one]],
    ['RING_BEFORE_POST', 'a message is lost', one],
    ['CLEAR_AFTER_RECEIVING', 'a message is lost', ['IDLE_LOOKS=1']],
    ['RECEIVE_ONE', 'a message is lost', ['IDLE_LOOKS=1']],
    ['POLL_DEAF', '', endless, 'heard'],
    ['DRAIN_WITHOUT_BOUND', '', endless, 'heard'],
  ],
);

const queueThreads = casesOf(
  'queue-threads',
  [
    ['any four messages, SIGTERM', ['REQUESTS=1']],
    ['any three, two requests', ['MESSAGES=3']],
    ['ended in the end', ['LIVE', 'MESSAGES=2'], 'ended'],
  ],
  [
    ['ANSWER_BEFORE_IDLE', STOPPED],
    ['STOP_WITHOUT_HALT', STOPPED],
    ['UNMAP_WITHOUT_STOP', 'memory that is not mapped is touched'],
    ['CLOSE_KICK_BEFORE_ANSWER', 'a closed descriptor is read'],
    ['CLOSE_CALL_BEFORE_ANSWER', 'a closed descriptor is rung'],
    ['FIRST_ANSWER_COUNTS', 'a closed descriptor is mapped'],
    ['END_MEANWHILE', 'a closed descriptor is mapped'],
    ['FINISH_WHILE_ENDING', 'a thread ends while its queue runs'],
    ['START_NOT_RECORDED', 'what runs is started'],
    ['STOP_NOT_RECORDED', 'what does not run is stopped'],
    ['RING_BEFORE_POST', DEADLOCK],
    ['CLEAR_AFTER_RECEIVING', DEADLOCK],
    ['IDLE_NOT_TOLD', DEADLOCK],
    ['IDLE_NOT_TOLD', '', ['LIVE', 'MESSAGES=2'], 'ended'],
  ],
);

const fewer = ['EVENTS=4', 'RINGS=2'] as const;
const CLOSED_EARLY = 'an eventfd is closed before it is given back';
const doorbell = casesOf(
  'doorbell',
  [['any six starts and stops', []]],
  [
    ['CLOSED_FIRST', CLOSED_EARLY, fewer],
    ['NEVER_GIVEN_BACK', CLOSED_EARLY, fewer],
    ['KEPT_ONE_IS_CLOSED', CLOSED_EARLY, fewer],
    ['GIVEN_BACK_WITHOUT_WAITING', 'an eventfd is rung that nobody can read', fewer],
    ['CLOSED_BEFORE_STOPPED', 'a doorbell is closed while a host listens', fewer],
    ['STARTED_BESIDE', 'two hosts run one queue', fewer],
    ['NO_LOOK_ON_START', KICK, fewer],
    ['KICKS_DROPPED', KICK, fewer],
    ['KICKS_DROPPED_WHILE_STARTING', KICK, fewer],
    ['KEPT_ONE_UNWATCHED', KICK, fewer],
    ['LATE_RING_CLEARED_LATE', KICK, fewer],
    ['CLEARED_AFTER_SERVING', KICK, fewer],
  ],
);

const vsockCredit = casesOf(
  'vsock-credit',
  [
    ['3 bytes of buffer', []],
    ['2 bytes of buffer', ['BUFFER=2']],
  ],
  [
    ['CREDIT_WITHOUT_WRAP', 'more bytes than credit'],
    ['ONE_MORE', 'more bytes than credit'],
    ['NO_UPDATE', 'bytes wait for ever'],
    ['UPDATE_WHEN_OVERFULL', 'bytes wait for ever'],
  ],
);

const FRAME = 'a frame waits for ever';

const receive = casesOf(
  'receive',
  [
    ['merged buffers', []],
    ['a buffer for each frame', ['NEEDS_MAX=1', 'FRAMES=5']],
    ['merged buffers, larger ring', ['SIZE=4', 'FRAMES=5']],
  ],
  [
    ['LOOK_BEFORE_ARM', FRAME],
    ['NO_SECOND_LOOK', FRAME],
    ['ARM_ONE_LATE', FRAME],
    ['HELD_IS_FORGOTTEN', FRAME],
    ['NOT_TRIED_AGAIN', FRAME],
    ['PORT_NOT_RESUMED', FRAME],
    ['NOT_PUBLISHED', 'the driver sleeps beside its frames'],
  ],
);

const REQUEST = 'a request is stranded';
const COMPLETION = 'a completion is stranded';

const hvisor = casesOf(
  'hvisor',
  [
    ['no time-out is needed', []],
    ['stores reordered', ['PSO', 'REQUESTS=2']],
    ['a wake-up is dropped', ['DROPS']],
  ],
  [
    ['SLEEP_WITHOUT_BARRIER', REQUEST, ['FULL_QUEUE_STALLS']],
    ['HVISOR_WITHOUT_BARRIER', REQUEST, ['FULL_QUEUE_STALLS']],
    ['LOOK_BEFORE_ASK', REQUEST],
    ['START_WITHOUT_LOOK', REQUEST],
    ['CLEAR_LATE', REQUEST],
    ['NO_TIME_OUT', REQUEST, ['DROPS']],
    ['MERGE_WITHOUT_BOUND', COMPLETION],
    ['NO_REPEAT', COMPLETION],
    ['DRIVER_LOOKS_FIRST', COMPLETION],
  ],
);

export const modelCases: readonly ModelCase[] = [
  ...eventLoop,
  ...queueThreads,
  ...session,
  ...handshake,
  ...doorbell,
  ...vsockCredit,
  ...receive,
  ...hvisor,
];
