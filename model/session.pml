/* One ring of a vhost-user session: messages come on a socket, kicks by eventfd and overtake them; the front end starts,
   enables, disables and stops the ring and replaces its descriptors in any order it likes. The device may throw as well
   (-DDEVICE_THROWS). Memory is sequentially consistent here: what store buffers do is the matter of handshake.pml. */

#ifndef REQUESTS
#define REQUESTS 3
#endif
#ifndef MESSAGES
#define MESSAGES 5
#endif
#define DRAIN_MAX 2

mtype = { NOTHING, SET_KICK, SET_CALL, ENABLE, DISABLE, GET_BASE };

/* Eventfds: each descriptor the front end ever makes for kicks and for calls. */
#define DESCRIPTORS 2
#define NONE DESCRIPTORS
bool kicks[DESCRIPTORS];
bool calls[DESCRIPTORS];

chan socket = [2] of { mtype, byte };
chan replies = [1] of { byte };

/* The ring: requests the driver made, whether it is to kick for the next one, requests that came back. */
byte made;
bool wantsKick = true;
byte used;

/* Where the driver rings and listens. */
byte driverKick;
byte driverCall = NONE;

/* For the properties: what the front end was promised, and what was really done. */
bool startAsked, enableAsked;
byte wanted, served, taken, thrown;
bool broken;

/* Guest memory is touched only after the front end asked for it, and before it was answered that the ring has stopped. */
inline touchMemory() {
  assert(startAsked && enableAsked) /* stopped does not mean stopped */
}

/* ---- The back end: session, queue host and queue, on one thread. ---- */

/* EventFd.signal on the call descriptor, if there is one. */
inline ring() {
  if
  :: call != NONE -> calls[call] = true
  :: else
  fi
}

/* SplitQueue.markUsed and publish, and the call the driver asked for. */
inline complete() {
  d_step {
    touchMemory();
    inFlight--;
    used++;
    ring()
  }
}

/* SplitQueue.#serveBatch, and the device's serve, which completes the request now or later. */
inline pop() {
  d_step {
    touchMemory();
    assert(nextAvail == served); /* a request is lost or doubled */
    served++;
    nextAvail++;
    popped++;
    inFlight++
  }
}

/* SplitQueue.drain where serve throws: the queue is broken, and the request is nobody's. */
inline throwError() {
  d_step {
    broken = true;
    thrown++;
    inFlight--;
    halt()
  }
}

/* RunningQueue.#stopServing and stop: no kick is read any more, and a task that is left does nothing. */
inline halt() {
#ifndef MUTANT_STOP_WITHOUT_HALT
  watched = false;
#endif
#ifndef MUTANT_TASK_OUTLIVES_STOP
  taskLeft = false
#endif
}

/* RunningQueue.#process: SplitQueue.drain, and a task where it was cut short. */
inline process() {
  wantsKick = false;
  do
  :: popped < DRAIN_MAX && nextAvail < made ->
    pop();
    if
    :: complete()
    :: true
#ifdef DEVICE_THROWS
    :: thrown == 0 -> throwError(); break
#endif
    fi
  :: popped < DRAIN_MAX && nextAvail == made ->
    wantsKick = true;
    if
    :: nextAvail == made -> break
    :: else
    fi
  :: popped == DRAIN_MAX -> taskLeft = true; break
  od;
  popped = 0
}

/* LocalHost.stop, first half: from here on only what is in flight goes on. */
inline beginStop() {
  if
  :: running && message != SET_CALL ->
    halt();
#ifdef MUTANT_STOP_WITHOUT_HALT
    base = nextAvail
#endif
  :: else
  fi
}

/* SplitQueue.whenIdle: nothing is in flight. */
#if defined(MUTANT_ANSWER_BEFORE_IDLE)
#define idle true
#elif defined(MUTANT_THROWN_STAYS_IN_FLIGHT)
#define idle (inFlight + thrown == 0)
#else
#define idle (inFlight == 0)
#endif

/* LocalHost.stop, second half, and Session.stop, which keeps how far the ring got; a broken one waits for a new kick. */
inline endStop() {
  if
  :: running ->
    running = false;
    watched = false;
#if !defined(MUTANT_BASE_NOT_KEPT) && !defined(MUTANT_STOP_WITHOUT_HALT)
    base = nextAvail;
#endif
#ifdef MUTANT_BROKEN_TRIED_AGAIN
    skip
#else
    kick = (broken -> NONE : kick)
#endif
  :: else
  fi
}

/* Session.#startIfReady, LocalHost.start and the RunningQueue's constructor: a task looks at the ring at once. */
inline startIfReady() {
  if
  :: kick != NONE && isEnabled && !running ->
    assert(!broken || message == SET_KICK); /* a broken ring is tried again */
    running = true;
    watched = true;
    broken = false;
#ifdef MUTANT_START_FROM_ZERO
    nextAvail = 0;
#else
    nextAvail = base;
#endif
    wantsKick = true;
#if defined(MUTANT_KICK_READ_WHILE_DISABLED)
    taskLeft = message == SET_KICK;
#elif !defined(MUTANT_NO_LOOK_ON_START)
    taskLeft = true;
#endif
#ifdef MUTANT_NO_CALL_ON_START
    skip
#else
    ring()
#endif
  :: else
  fi
}

/* Session.change: whatever it is, the ring is stopped for it, and started again if it can be. */
inline change() {
  d_step {
    endStop();
    if
    :: message == SET_KICK -> kick = fd
    :: message == ENABLE -> isEnabled = true
    :: message == DISABLE -> isEnabled = false; enableAsked = false; replies!0
    fi;
    startIfReady()
  }
}

/* setCall of vring-messages.ts, and LocalHost.setCall: rung once, for what was missed. */
inline setCall() {
  d_step {
    call = fd;
#ifndef MUTANT_NO_CALL_ON_SET
    if
    :: running -> ring()
    :: else
    fi
#endif
  }
}

/* getBase of vring-messages.ts */
inline getBase() {
  d_step {
    endStop();
#ifndef MUTANT_KICK_KEPT_AFTER_BASE
    kick = NONE;
#endif
    startAsked = false;
    replies!base
  }
}

#ifdef MUTANT_KICK_READ_WHILE_DISABLED
#define kickRead (kick != NONE && kicks[kick])
#else
#define kickRead (watched && kicks[kick])
#endif

/* EventLoop.turn; and Connection.#handle, which reads the next message when the last one is answered. */
proctype BackEnd() {
  mtype message = NOTHING;
  byte fd;
  byte kick = NONE;
  byte call = NONE;
  byte base, nextAvail, popped, inFlight;
  bool isEnabled = enableAsked;
  bool running, watched, taskLeft, woken;
end:
  do
  :: kickRead || taskLeft ->
    d_step {
      if
      :: kickRead -> kicks[kick] = false; woken = running
      :: else -> taskLeft = false; woken = true
      fi
    };
    if
    :: woken -> woken = false; process()
    :: else
    fi
  :: inFlight > 0 -> complete()
  :: d_step { message == NOTHING && nempty(socket) -> socket?message(fd); beginStop() }
  :: message != NOTHING && (message == SET_CALL || !running || idle) ->
    if
    :: message == SET_CALL -> setCall()
    :: message == GET_BASE -> getBase()
    :: else -> change()
    fi;
    d_step { message = NOTHING; fd = 0 }
  od
}

/* ---- The other side: a front end on the socket, a driver in the guest. ---- */

proctype FrontEnd() {
  byte sent, base;
  do
  :: sent < MESSAGES ->
    sent++;
    if
    :: atomic { startAsked = true; socket!SET_KICK(driverKick) }
    /* A new eventfd: the driver rings it from now on, and what it rang before nobody will read. */
    :: atomic { driverKick + 1 < DESCRIPTORS -> driverKick++; startAsked = true; socket!SET_KICK(driverKick) }
    :: atomic {
        driverCall == NONE || driverCall + 1 < DESCRIPTORS ->
        driverCall = (driverCall == NONE -> 0 : driverCall + 1);
        socket!SET_CALL(driverCall)
      }
    :: atomic { enableAsked = true; socket!ENABLE(0) }
    :: socket!DISABLE(0); replies?_
    :: socket!GET_BASE(0);
      replies?base;
      assert(base == served); /* the base is wrong */
      base = 0
    fi
  :: sent > 0 -> sent = MESSAGES; break
  od
}

proctype Driver() {
end:
  do
  :: made < wanted ->
    made++;
    if
    :: wantsKick -> kicks[driverKick] = true
    :: else
    fi
  :: driverCall != NONE && calls[driverCall] ->
    calls[driverCall] = false;
    taken = used
  od
}

#ifndef LIVE
/* Nothing can move any more: on a ring that is started and enabled nothing may be left to do. */
proctype Rest() {
end:
  timeout;
  if
  :: startAsked && enableAsked && !broken ->
    assert(served == made); /* a kick is lost */
    assert(driverCall == NONE || taken + thrown == served) /* a call is lost */
  :: else
  fi
}
#endif

init {
  atomic {
#ifdef LIVE
    wanted = REQUESTS;
#else
    select(wanted : 1 .. REQUESTS);
#endif
#ifdef ENABLED_FROM_THE_START
    enableAsked = true;
#endif
    run BackEnd();
    run FrontEnd();
    run Driver();
#ifndef LIVE
    run Rest()
#endif
  }
}

#ifdef LIVE
/* A ring that stays started and enabled is served, whoever is slow: under weak fairness. */
ltl served { (<> [] (startAsked && enableAsked)) -> <> (served == REQUESTS) }
#endif
