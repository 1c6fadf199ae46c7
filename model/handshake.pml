/* Suppress, drain, rearm: a device on a split virtqueue against a driver, each on a processor of its own, with EVENT_IDX or
   with flags (-DFLAGS); requests completed while draining or later (-DLATER). Both races are here: the kick (driver to
   device) and its mirror, the call (device to driver). */

/* The tightest ring there is: indices wrap at twice the size (in life 65536 and up to 32768), and start just before that. */
#ifndef SIZE
#define SIZE 2
#endif
#define MODULUS (2 * SIZE)
#define START (MODULUS - 1)
#ifndef REQUESTS
#define REQUESTS 4
#endif
#ifndef BATCH_MAX
#define BATCH_MAX 2
#endif
#ifndef DRAIN_MAX
#define DRAIN_MAX 2
#endif

/* Words the driver writes, then words the device writes. */
#define AVAIL_FLAGS 0
#define AVAIL_INDEX 1
#define USED_EVENT 2
#define USED_FLAGS 3
#define USED_INDEX 4
#define AVAIL_EVENT 5
#define AVAIL_RING 6
#define USED_RING (AVAIL_RING + SIZE)
#define WORDS (USED_RING + SIZE)

#define DRIVER 0
#define DEVICE 1
#define PROCESSORS 2
#include "tso.pml"

/* The two eventfds: rung or not. What a count adds to that nobody looks at. */
bool kicked;
bool called;

/* What was really done, for the properties: requests are numbered from 1 and carry their number. */
byte wanted;
byte made;
byte popped;
byte taken;
byte inFlight;
bit returned[REQUESTS + 1];
#ifdef LATER
chan held = [SIZE] of { byte };
#endif

/* ---- The device: one queue on its owner thread. ---- */

/* SplitNotification.disable */
inline disable() {
#ifdef FLAGS
  atomicStore(DEVICE, USED_FLAGS, 1)
#else
  skip
#endif
}

#ifdef MUTANT_ARM_WITHOUT_BARRIER
#define armStore store
#else
#define armStore atomicStore
#endif

/* SplitNotification.enable: store, barrier, look again. */
inline enable() {
#ifdef MUTANT_LOOK_BEFORE_ARM
  load(DEVICE, AVAIL_INDEX, available);
#endif
#ifdef FLAGS
  armStore(DEVICE, USED_FLAGS, 0);
#elif defined(MUTANT_ARM_ONE_LATE)
  armStore(DEVICE, AVAIL_EVENT, wrapped(nextAvail + 1));
#else
  armStore(DEVICE, AVAIL_EVENT, nextAvail);
#endif
#ifndef MUTANT_LOOK_BEFORE_ARM
  load(DEVICE, AVAIL_INDEX, available);
#endif
#ifdef MUTANT_NO_SECOND_LOOK
  again = false;
#elif defined(MUTANT_COMPARE_WITHOUT_WRAP)
  again = available > nextAvail;
#else
  again = available != nextAvail;
#endif
  available = 0
}

/* SplitNotification.wantsCall, for an index that went from before to nextUsed. */
inline wantsCall() {
#ifdef FLAGS
  load(DEVICE, AVAIL_FLAGS, event);
  again = event == 0;
#else
  load(DEVICE, USED_EVENT, event);
  again = passes(event, before, nextUsed) || firstCall;
  firstCall = false;
#endif
  event = 0
}

#if defined(MUTANT_PUBLISH_WITHOUT_BARRIER)
#define publishStore store
#elif defined(MUTANT_INDEX_OVERTAKES_ELEMENT)
#define publishStore(processor, where, what) store(processor, where, what); fence(processor)
#else
#define publishStore atomicStore
#endif

/* SplitQueue.publish */
inline publish() {
  if
  :: published != nextUsed ->
    d_step { before = published; published = nextUsed; unpublished = 0 };
#ifdef MUTANT_ASK_BEFORE_PUBLISH
    wantsCall();
    publishStore(DEVICE, USED_INDEX, nextUsed);
#elif defined(MUTANT_CALL_BEFORE_PUBLISH)
    wantsCall();
    if
    :: again -> called = true
    :: else
    fi;
    again = false;
    publishStore(DEVICE, USED_INDEX, nextUsed);
#else
    publishStore(DEVICE, USED_INDEX, nextUsed);
    wantsCall();
#endif
    if
    :: again -> called = true
    :: else
    fi;
    d_step { again = false; before = 0 }
  :: else
  fi
}

/* SplitQueue.markUsed: the element is stored plainly, before the index that shows it. */
inline markUsed(number) {
  store(DEVICE, USED_RING + (nextUsed & (SIZE - 1)), number);
  d_step {
    nextUsed = wrapped(nextUsed + 1);
    inFlight--;
    unpublished++;
    assert(unpublished <= BATCH_MAX) /* the first completion waits for the last */
  }
}

#ifdef LATER
/* A store answers: any of the requests in flight. */
inline complete() {
  do
  :: held?request; held!request
  :: held?request -> break
  od;
  markUsed(request);
  request = 0;
  publish()
}
#endif

/* SplitQueue.#load: the index first, then the heads it covers. */
inline fill() {
#ifdef MUTANT_HEAD_BEFORE_INDEX
  load(DEVICE, AVAIL_RING + (nextAvail & (SIZE - 1)), chain[0]);
#endif
  load(DEVICE, AVAIL_INDEX, available);
  d_step {
#ifdef MUTANT_COUNT_WITHOUT_WRAP
    available = available - nextAvail;
#else
    available = wrapped(available - nextAvail);
#endif
    assert(available + inFlight <= SIZE); /* more requests than the queue has room for */
    batch = (available < BATCH_MAX -> available : BATCH_MAX);
    available = 0
  };
  do
  :: at < batch ->
#ifdef MUTANT_HEAD_BEFORE_INDEX
    if
    :: at > 0 -> load(DEVICE, AVAIL_RING + (nextAvail & (SIZE - 1)), chain[at])
    :: else
    fi;
    joint;
#else
    load(DEVICE, AVAIL_RING + (nextAvail & (SIZE - 1)), chain[at]);
#endif
    d_step {
      popped++;
      assert(chain[at] == popped); /* a request is lost, doubled or not there yet */
      nextAvail = wrapped(nextAvail + 1);
      inFlight++;
      at++
    }
  :: else -> at = 0; break
  od
}

/* SplitQueue.#serveBatch: each request is completed now or later; a batch may be published in parts. */
inline serveBatch() {
  fill();
  do
  :: at < batch ->
    if
    :: markUsed(chain[at])
#ifdef LATER
    :: held!chain[at]
#endif
    fi;
    chain[at] = 0;
    at++;
    if
#ifndef MUTANT_PUBLISH_AT_THE_END
    :: at < batch ->
#ifdef MUTANT_PART_WITHOUT_ASKING
      published = nextUsed;
      unpublished = 0;
      publishStore(DEVICE, USED_INDEX, nextUsed)
#else
      publish()
#endif
#endif
    :: true
    fi
  :: else -> break
  od;
#ifndef MUTANT_PUBLISH_AT_THE_END
  publish();
#endif
  served = served + batch;
  emptied = batch == 0;
  batch = 0;
  at = 0
}

/* SplitQueue.drain */
inline drain() {
  disable();
  do
  :: true ->
    emptied = false;
    do
    :: !emptied && served < DRAIN_MAX -> serveBatch()
    :: else -> break
    od;
    emptied = false;
    if
    :: served < DRAIN_MAX -> enable()
    :: else
    fi;
    if
    :: again -> again = false
    :: else -> break
    fi
  od
#ifdef MUTANT_PUBLISH_AT_THE_END
  ;
  publish()
#endif
}

/* RunningQueue.#process: where the drain was cut short, a task is left. */
inline process() {
  drain();
#ifdef MUTANT_YIELD_WITHOUT_TASK
  served = 0;
#endif
  taskLeft = taskLeft || served >= DRAIN_MAX;
  served = 0
}

/* EventLoop.turn and RunningQueue.#onKick: asleep until the eventfd is rung, a task is left, or a store answers. */
proctype Device() {
  byte nextAvail = START;
  byte nextUsed = START;
  byte published = START;
  byte unpublished;
  bool firstCall = true;
  bool taskLeft = true; /* the look at the ring when it starts */
  byte chain[BATCH_MAX];
  byte available, event, before, batch, at, served;
#ifdef LATER
  byte request;
#endif
  bool again, emptied, woken;
end:
  do
  :: d_step { kicked -> woken = true };
#ifndef MUTANT_CLEAR_LATE
    kicked = false;
#endif
    process();
#ifdef MUTANT_CLEAR_LATE
    kicked = false
#endif
  :: taskLeft -> taskLeft = false; process()
#ifdef LATER
  :: inFlight > 0 -> complete()
#endif
  od
}

/* ---- The driver: Linux's virtio_ring.c, one virtqueue under its lock. ---- */

/* virtqueue_add_split: shown one by one, kicked for together. */
inline add() {
  d_step { made++; fresh++ };
  store(DRIVER, AVAIL_RING + (nextAvail & (SIZE - 1)), made);
#ifdef PSO
  fence(DRIVER);
#endif
  nextAvail = wrapped(nextAvail + 1);
  store(DRIVER, AVAIL_INDEX, nextAvail)
}

/* virtqueue_kick_prepare_split and the write that KVM turns into a ring of the eventfd. */
inline kick() {
#ifndef MUTANT_DRIVER_KICKS_WITHOUT_BARRIER
  fence(DRIVER);
#endif
#ifdef FLAGS
  load(DRIVER, USED_FLAGS, word);
  if
  :: word == 0 -> kicked = true
  :: else
  fi;
#else
  load(DRIVER, AVAIL_EVENT, word);
  if
  :: passes(word, nextAvail - fresh, nextAvail) -> kicked = true
  :: else
  fi;
#endif
  d_step { fresh = 0; word = 0 }
}

/* virtqueue_get_buf_ctx_split, until there are no more. */
inline takeAll() {
  do
  :: true ->
    load(DRIVER, USED_INDEX, word);
    if
    :: word == nextUsed -> break
    :: else
    fi;
    load(DRIVER, USED_RING + (nextUsed & (SIZE - 1)), word);
    d_step {
      assert(word >= 1 && word <= made && !returned[word]); /* a completion is doubled or not there yet */
      returned[word] = 1;
      taken++;
      nextUsed = wrapped(nextUsed + 1)
    }
  od
}

/* virtqueue_enable_cb_prepare_split and virtqueue_poll, or virtqueue_enable_cb_delayed_split: a call for a later one. */
inline askForCalls() {
  do
  :: delay + 1 < made - taken -> delay++
  :: break
  od;
  joint;
#ifdef FLAGS
  store(DRIVER, AVAIL_FLAGS, 0);
#else
  store(DRIVER, USED_EVENT, wrapped(nextUsed + delay));
#endif
#ifndef MUTANT_DRIVER_ASKS_WITHOUT_BARRIER
  fence(DRIVER);
#endif
  load(DRIVER, USED_INDEX, word);
  d_step { moved = wrapped(word - nextUsed) > delay; delay = 0; word = 0 }
}

proctype Driver() {
  byte nextAvail = START;
  byte nextUsed = START;
  byte fresh, word, delay;
  bool moved;
end:
  do
  :: made < wanted && made - taken < SIZE ->
    add();
    if
    :: made < wanted && made - taken < SIZE -> add()
    :: true
    fi;
    kick()
  :: called ->
    called = false;
#ifdef FLAGS
    store(DRIVER, AVAIL_FLAGS, 1);
#endif
    do
    :: true ->
      takeAll();
      askForCalls();
      if
      :: moved -> moved = false
      :: else -> break
      fi
    od
  od
}

#ifndef LIVE
/* Nothing can move any more: then nothing may be left to do. */
proctype Rest() {
end:
  timeout;
  assert(popped == made); /* a kick is lost */
  assert(taken == popped) /* a call is lost */
}
#endif

init {
  atomic {
    memory[AVAIL_INDEX] = START;
    memory[USED_INDEX] = START;
    memory[USED_EVENT] = START;
    /* However many there are, the last must not be lost either. */
#ifdef LIVE
    wanted = REQUESTS;
#else
    select(wanted : 1 .. REQUESTS);
#endif
    run Device();
    run Driver();
    run StoreQueue(DRIVER);
    run StoreQueue(DEVICE);
#ifndef LIVE
    run Rest()
#endif
  }
}

#ifdef LIVE
/* Every request comes back, whoever is slow: under weak fairness. */
ltl served { <> (taken == REQUESTS) }
#endif
