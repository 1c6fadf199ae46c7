/* Poll or sleep: one event loop with two queues, each with a driver, and messages from another thread; with EVENT_IDX or with
   flags (-DFLAGS). Queue 1 is started on the way, by the first message. With -DRIDE the loop takes its turns inside Node's own
   and polls nothing; queue 1 is started by a promise, outside of any turn. */

#define QUEUES 2
#ifndef SIZE
#define SIZE 2
#endif
#define MODULUS (2 * SIZE)
#define START (MODULUS - 1)
/* What each driver makes. */
#define requests(queue) (2 - (queue))
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef DRAIN_MAX
#define DRAIN_MAX 2
#endif
#ifndef BUSY_ROUNDS
#define BUSY_ROUNDS 2
#endif
#ifndef IDLE_LOOKS
#define IDLE_LOOKS 2
#endif

/* A word of each driver, then one of each queue: avail_event, or the flags. */
#define AVAIL_INDEX(queue) (queue)
#define ARM(queue) (QUEUES + (queue))
#define WORDS (2 * QUEUES)

#define LOOP 0
#define DRIVER(queue) (1 + (queue))
#define PROCESSORS (1 + QUEUES)
#include "tso.pml"

/* Eventfds: the kick of each queue, the wake-up of the thread; and the port beside that. */
bool kicked[QUEUES];
bool woken;
byte posted;

/* Where each queue is: the driver sees that as completions. */
byte nextAvail[QUEUES] = START;
byte received;
#ifdef RIDE
bool settled;
#else
#define settled false
#endif

/* ---- The thread. ---- */

#define tasks (taskLeft[0] || taskLeft[1])
#define readable ((watched[0] && kicked[0]) || (watched[1] && kicked[1]) || woken)
#ifdef RIDE
#define awake (immediate || readable)
#elif defined(MUTANT_SLEEP_ON_TASKS)
#define awake readable
#else
#define awake (tasks || readable)
#endif

/* SplitNotification.disable */
inline disable(queue) {
#ifdef FLAGS
  atomicStore(LOOP, ARM(queue), 1)
#else
  skip
#endif
}

/* SplitQueue.suppress and SplitNotification.silence: what was asked for is taken back as well. */
inline suppress(queue) {
  polled[queue] = true;
#ifdef FLAGS
  atomicStore(LOOP, ARM(queue), 1)
#else
  atomicStore(LOOP, ARM(queue), wrapped(nextAvail[queue] - 1))
#endif
}

#ifdef MUTANT_ARM_WITHOUT_BARRIER
#define armStore store
#else
#define armStore atomicStore
#endif

/* SplitNotification.enable */
inline enable(queue) {
#ifdef FLAGS
  armStore(LOOP, ARM(queue), 0);
#else
  armStore(LOOP, ARM(queue), nextAvail[queue]);
#endif
  load(LOOP, AVAIL_INDEX(queue), index);
  again = index != nextAvail[queue];
  index = 0
}

/* RunningQueue.#process and SplitQueue.drain: suppressing and rearming are left to who polls, if somebody does. */
inline process(queue) {
  if
  :: !polled[queue] -> disable(queue)
  :: else
  fi;
  do
  :: true ->
    do
#ifdef MUTANT_DRAIN_WITHOUT_BOUND
    :: true ->
#else
    :: served < DRAIN_MAX ->
#endif
      load(LOOP, AVAIL_INDEX(queue), index);
      if
      :: index == nextAvail[queue] -> break
      :: else -> d_step {
          nextAvail[queue] = wrapped(nextAvail[queue] + 1);
          served = (served < DRAIN_MAX -> served + 1 : served)
        }
      fi
#ifndef MUTANT_DRAIN_WITHOUT_BOUND
    :: else -> break
#endif
    od;
    if
    :: served < DRAIN_MAX && !polled[queue] -> enable(queue)
    :: else -> index = 0
    fi;
    if
    :: again -> again = false
    :: else -> break
    fi
  od;
  taskLeft[queue] = taskLeft[queue] || served == DRAIN_MAX;
  served = 0
}

/* RunningQueue.poll */
inline poll(queue) {
  load(LOOP, AVAIL_INDEX(queue), index);
  if
  :: index != nextAvail[queue] -> index = 0; process(queue); progress = true
  :: else -> index = 0
  fi
}

/* LocalHost.start with a descriptor of its own: what was rung on the one before is gone, but a task looks at the ring. */
inline start(queue) {
  d_step {
    watched[queue] = true;
    kicked[queue] = false;
#ifndef MUTANT_NO_LOOK_ON_START
    taskLeft[queue] = true
#endif
  }
}

/* receiveOn of thread-link.ts: clear, then take every message. */
inline receive() {
#ifndef MUTANT_CLEAR_AFTER_RECEIVING
  woken = false;
#endif
  do
  :: received < posted ->
    received++;
#ifndef RIDE
    if
    :: received == 1 -> start(1)
    :: else
    fi;
#endif
#ifdef MUTANT_RECEIVE_ONE
    break
#endif
  :: else -> break
  od;
#ifdef MUTANT_CLEAR_AFTER_RECEIVING
  woken = false
#endif
}

/* EventLoop.turn: what is readable now, then the tasks left by that or by earlier turns. */
inline turn() {
  d_step {
    due[0] = watched[0] && kicked[0];
    due[1] = watched[1] && kicked[1];
    dueWake = woken
  };
  do
  :: due[at] -> due[at] = false; kicked[at] = false; process(at)
  :: !due[at] && at < QUEUES - 1 -> at++
  :: !due[at] && at == QUEUES - 1 -> at = 0; break
  od;
  if
  :: dueWake -> dueWake = false; receive()
  :: else
  fi;
  joint;
  d_step {
    due[0] = taskLeft[0];
    due[1] = taskLeft[1];
    taskLeft[0] = false;
    taskLeft[1] = false
  };
  do
  :: due[at] -> due[at] = false; process(at)
  :: !due[at] && at < QUEUES - 1 -> at++
  :: !due[at] && at == QUEUES - 1 -> at = 0; break
  od
}

/* The end of EventLoop.#poll: rearm each, look again at each. */
inline leavePolling() {
  do
  :: at < QUEUES ->
    if
    :: polled[at] ->
      polled[at] = false;
#ifndef MUTANT_LEAVE_WITHOUT_REARM
      enable(at);
      if
      :: again ->
        again = false
#ifndef MUTANT_NO_LOOK_AFTER_REARM
        ;
        process(at) /* RunningQueue.poll: what was seen is still there */
#endif
      :: else
      fi
#endif
    :: else
    fi;
    at++
  :: else -> break
  od;
  joint;
  d_step { at = 0; polling = false; progress = false; looks = 0; rounds = 0 }
}

/* EventLoop.run, or rideNodeLoop. A choice stands for each thing only a clock or a counter decides. */
proctype Loop() {
  bool watched[QUEUES];
  bool polled[QUEUES];
  bool taskLeft[QUEUES];
  bool due[QUEUES];
  bool dueWake, again, progress, polling;
  byte index, served, at, looks, rounds;
#ifdef RIDE
  bool immediate = true;
  bool decided = true;
#else
  bool decided;
#endif
  watched[0] = true;
  taskLeft[0] = true;
end:
  do
#ifdef RIDE
  /* The request was in flight that held the queue's restart up: as promises do, that goes first. */
  :: settled ->
    settled = false;
    start(1);
#ifndef MUTANT_TASK_OUTSIDE_TURN_UNHEARD
    immediate = true
#endif
#else
  /* The policy: sleep at once, or poll before. EventLoop.#poll */
  :: !decided -> decided = true
  :: !decided && !tasks ->
    decided = true;
    polling = true;
    do
    :: at < QUEUES -> if :: watched[at] -> suppress(at) :: else fi; at++
    :: else -> at = 0; break
    od
  :: polling && looks < IDLE_LOOKS && rounds < BUSY_ROUNDS ->
    do
    :: at < QUEUES -> if :: watched[at] -> poll(at) :: else fi; at++
    :: else -> at = 0; break
    od;
    joint;
    d_step {
      looks = (progress -> 0 : looks + 1);
#ifndef MUTANT_POLL_DEAF
      rounds = (progress -> rounds + 1 : rounds);
#endif
      progress = false
    }
  :: polling && rounds < BUSY_ROUNDS -> leavePolling()
#endif
  :: (polling || (decided && awake)) && !settled ->
#ifdef RIDE
    immediate = readable;
    turn();
    immediate = immediate || tasks
#else
    decided = polling;
    turn();
    rounds = 0
#endif
  od
}

/* ---- The others. ---- */

proctype Driver(byte queue) {
  byte index = START;
  byte made, arm;
end:
  do
#ifdef ENDLESS
  :: wrapped(index - nextAvail[queue]) < SIZE ->
#else
  :: made < requests(queue) && wrapped(index - nextAvail[queue]) < SIZE ->
    made++;
#endif
    index = wrapped(index + 1);
    store(DRIVER(queue), AVAIL_INDEX(queue), index);
    fence(DRIVER(queue));
    load(DRIVER(queue), ARM(queue), arm);
#ifdef FLAGS
    if
    :: arm == 0 -> kicked[queue] = true
    :: else
    fi;
#else
    if
    :: passes(arm, index - 1, index) -> kicked[queue] = true
    :: else
    fi;
#endif
    arm = 0
  od
}

/* LinkSender.send */
proctype Sender() {
  byte sent;
  do
  :: sent < MESSAGES ->
    sent++;
#ifdef MUTANT_RING_BEFORE_POST
    woken = true;
    posted++
#else
    posted++;
    woken = true
#endif
  :: sent == MESSAGES -> break
  od
}

#ifdef RIDE
/* A store: it answers in the end. */
proctype Store() {
  settled = true
}
#endif

#ifndef ENDLESS
/* Nothing can move any more: then nothing may be left to do. */
proctype Rest() {
end:
  timeout;
  assert(received == posted); /* a message is lost */
  assert(nextAvail[0] == memory[AVAIL_INDEX(0)]); /* a kick is lost */
  assert(nextAvail[1] == memory[AVAIL_INDEX(1)]) /* a ring is not looked at */
}
#endif

init {
  byte queue;
  atomic {
    do
    :: queue < QUEUES ->
      memory[AVAIL_INDEX(queue)] = START;
#ifdef ENDLESS
      if
      :: queue == 0 -> run Driver(queue); run StoreQueue(DRIVER(queue))
      :: else
      fi;
#else
      run Driver(queue);
      run StoreQueue(DRIVER(queue));
#endif
      queue++
    :: else -> break
    od;
    queue = 0;
    run Loop();
    run StoreQueue(LOOP);
    run Sender();
#ifdef RIDE
    run Store();
#endif
#ifndef ENDLESS
    run Rest()
#endif
  }
}

#ifdef ENDLESS
/* While driver 0 never stops, others have their turn: under weak fairness. */
ltl heard { <> (received == 1) }
#endif
