/* hvisor's bridge page, between the hypervisor and the daemon, each on a processor of its own: requests and the wake-up; completions
   and an interrupt that the hypervisor drops while the zone's CPU still handles the one before. With -DDROPS it drops a wake-up too. */

#ifndef REQUESTS
#define REQUESTS 3
#endif

/* Words of shared memory: the first is the hypervisor's, the others are the daemon's. */
#define REQUEST_REAR 0
#define NEED_WAKEUP 1
#define USED_INDEX 2
#define WORDS 3

#define HYPERVISOR 0
#define DAEMON 1
#define PROCESSORS 2
#define MODULUS 8
#include "tso.pml"

byte wanted, made, served, taken;
/* The eventfd. */
bool rung;
/* The interrupt of the zone's CPU, and whether an injection is not acknowledged yet. */
bool pending, handled, unacknowledged;
chan acknowledgements = [0] of { bit };
#ifdef DROPS
byte drops = 1;
#endif

/* ---- The hypervisor: publishes a request, full barrier, and looks whether to wake. ---- */

inline push() {
  made++;
  store(HYPERVISOR, REQUEST_REAR, made);
#ifndef MUTANT_HVISOR_WITHOUT_BARRIER
  fence(HYPERVISOR);
#endif
  load(HYPERVISOR, NEED_WAKEUP, need);
  if
  :: need == 1 -> rung = true
#ifdef DROPS
  :: need == 1 && drops > 0 -> drops--
#endif
  :: else
  fi;
  need = 0
}

proctype Hypervisor() {
  byte need;
end:
  do
  :: made < wanted -> push()
  od
}

/* ---- The daemon ---- */

/* FINISH_REQ is a hypercall: it happens at once. */
inline raise() {
  d_step {
#ifdef MUTANT_MERGE_WITHOUT_BOUND
    if
    :: !handled && !unacknowledged -> pending = true
    :: else
    fi;
#else
    if
    :: !handled -> pending = true
    :: else
    fi;
#endif
    unacknowledged = true
  }
}

inline complete() {
  served++;
  atomicStore(DAEMON, USED_INDEX, served);
  raise()
}

#ifdef MUTANT_SLEEP_WITHOUT_BARRIER
#define askStore store
#else
#define askStore atomicStore
#endif

inline serve() {
  atomicStore(DAEMON, NEED_WAKEUP, 0);
  do
  :: true ->
    load(DAEMON, REQUEST_REAR, rear);
    if
    :: served != rear -> complete()
    :: else ->
#ifndef MUTANT_LOOK_BEFORE_ASK
      askStore(DAEMON, NEED_WAKEUP, 1);
#endif
      load(DAEMON, REQUEST_REAR, rear);
#ifdef MUTANT_LOOK_BEFORE_ASK
      askStore(DAEMON, NEED_WAKEUP, 1);
#endif
      if
      :: served == rear -> break
      :: else -> atomicStore(DAEMON, NEED_WAKEUP, 0)
      fi
    fi
  od;
  rear = 0
}

/* Repeating it while it is pending or handled changes nothing. */
inline repeat() {
  unacknowledged && !pending && !handled -> raise()
}

proctype Daemon() {
  byte rear;
#ifdef MUTANT_START_WITHOUT_LOOK
  atomicStore(DAEMON, NEED_WAKEUP, 1);
#else
  serve();
#endif
end:
  do
  :: rung ->
#ifdef MUTANT_CLEAR_LATE
    serve();
    rung = false
#else
    rung = false;
    serve()
#endif
#if defined(DROPS) && !defined(MUTANT_NO_TIME_OUT)
  /* The time-out. Where it finds nothing it changes nothing. */
  :: memory[REQUEST_REAR] != served && !rung -> serve()
#endif
  :: acknowledgements?_ -> unacknowledged = false
#if !defined(MUTANT_NO_REPEAT) && !defined(MUTANT_MERGE_WITHOUT_BOUND)
  :: repeat()
#endif
  od
}

/* ---- The zone: Linux's vm_interrupt acknowledges, then looks at the ring. ---- */

proctype Zone() {
end:
  do
  :: atomic { pending -> pending = false; handled = true };
#ifdef MUTANT_DRIVER_LOOKS_FIRST
    taken = memory[USED_INDEX];
    acknowledgements!0;
#else
    acknowledgements!0;
    taken = memory[USED_INDEX];
#endif
    handled = false
  od
}

/* Nothing can move any more: then nothing may be left to do. */
proctype Rest() {
end:
  timeout;
  assert(served == made); /* a request is stranded */
  assert(taken == served) /* a completion is stranded */
}

init {
  atomic {
    select(wanted : 1 .. REQUESTS);
    run Hypervisor();
    run Daemon();
    run Zone();
    run StoreQueue(HYPERVISOR);
    run StoreQueue(DAEMON);
    run Rest()
  }
}
