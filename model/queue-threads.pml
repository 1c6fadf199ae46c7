/* Queues on threads of their own: the session's thread has them started and stopped by message and waits for the answer. The
   front end says anything in any order, leaves, and SIGTERM comes at any time; requests are in flight when they like. Ports
   order memory by themselves, so that it is sequentially consistent here. */

#define THREADS 2 /* one queue on each; those of the session's own thread need no messages: session.pml */
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef REQUESTS
#define REQUESTS 2 /* of each queue, at most */
#endif

mtype = { SET_MEMORY, START, STOP, SET_CALL };

/* The two directions of each link: a port, and an eventfd that is rung after each message. */
chan calls[THREADS] = [2] of { mtype, byte };
chan answers[THREADS] = [2] of { mtype };
bool callsRung[THREADS];
bool answersRung[THREADS];

/* Descriptors the session owns: whether they are open. A queue has one for kicks; for calls two, of which it uses one. */
bool kickOpen[THREADS];
bool callOpen[2 * THREADS];
byte regionsOpen; /* which regions, as often as they change; 0: none */
#define callFd(thread, which) (2 * (thread) + (which))

/* Promises to the front end and to the kernel. */
bool mustRest[THREADS] = true;
byte mapped[THREADS];
bool terminated, finished;

/* ---- A link. ---- */

/* LinkSender.send */
inline post(port, rung, message) {
#ifdef MUTANT_RING_BEFORE_POST
  rung = true;
  port!message
#else
  port!message;
  rung = true
#endif
}

/* ---- A queue's thread: answerHostCall, LocalHost, RunningQueue. ---- */

/* A kick is read, a request is popped, read from or written to, given back: whatever needs the guest's memory. */
inline touchMemory() {
  assert(!mustRest[thread]); /* stopped does not mean stopped */
  assert(mapped[thread] == views) /* memory that is not mapped is touched */
}

/* EventFd.signal on the call descriptor. */
inline ring() {
  assert(callOpen[callFd(thread, call)]) /* a closed descriptor is rung */
}

inline pop() {
  d_step {
    touchMemory();
    assert(kickOpen[thread]); /* a closed descriptor is read */
    popped++;
    inFlight++
  }
}

/* SplitQueue.publish, which calls back when nothing is in flight any more. */
inline complete() {
  d_step { touchMemory(); ring(); inFlight-- };
  if
  :: inFlight == 0 && stopping ->
    stopping = false;
    known = false;
#ifndef MUTANT_IDLE_NOT_TOLD
    post(answers[thread], answersRung[thread], STOP)
#endif
  :: else
  fi
}

/* LocalHost.setMemory */
inline setMemory() {
  d_step {
    assert(argument == 0 || argument == regionsOpen); /* a closed descriptor is mapped */
    mapped[thread] = argument
  };
  post(answers[thread], answersRung[thread], SET_MEMORY)
}

/* LocalHost.start */
inline start() {
  d_step {
    assert(!known); /* what runs is started */
    known = true;
    running = true;
    call = argument;
    views = mapped[thread];
    ring()
  };
  post(answers[thread], answersRung[thread], START)
}

/* LocalHost.stop and RunningQueue.stop */
inline stop() {
  assert(known && !stopping); /* what does not run is stopped */
#ifndef MUTANT_STOP_WITHOUT_HALT
  running = false;
#endif
  if
#ifdef MUTANT_ANSWER_BEFORE_IDLE
  :: true ->
#else
  :: inFlight > 0 -> stopping = true
  :: else ->
#endif
    known = false;
    post(answers[thread], answersRung[thread], STOP)
  fi
}

/* LocalHost.setCall */
inline setCall() {
  d_step { call = argument; ring() };
  post(answers[thread], answersRung[thread], SET_CALL)
}

proctype QueueThread(byte thread) {
  mtype method;
  byte argument, call, views, popped, inFlight;
  bool known, running, stopping;
end:
  do
  :: callsRung[thread] ->
#ifndef MUTANT_CLEAR_AFTER_RECEIVING
    callsRung[thread] = false;
#endif
    do
    :: nempty(calls[thread]) ->
      calls[thread]?method(argument);
      if
      :: method == SET_MEMORY -> setMemory()
      :: method == START -> start()
      :: method == STOP -> stop()
      :: method == SET_CALL -> setCall()
      fi;
      method = 0;
      argument = 0
    :: empty(calls[thread]) -> break
    od;
#ifdef MUTANT_CLEAR_AFTER_RECEIVING
    callsRung[thread] = false
#endif
  :: running && popped < REQUESTS -> pop()
  :: inFlight > 0 -> complete()
  :: finished -> break
  od;
  assert(!known && inFlight == 0) /* a thread ends while its queue runs */
}

/* ---- The session's thread: VhostUserServer, Connection, Session, ThreadHost. ---- */

/* ThreadHost.#call: nothing else is asked of that thread until it has answered. */
inline send(thread, method, argument) {
#ifdef MUTANT_RING_BEFORE_POST
  callsRung[thread] = true;
  calls[thread]!method(argument)
#else
  calls[thread]!method(argument);
  callsRung[thread] = true
#endif
}

/* receiveOn and ThreadHost.answered. The loop goes on meanwhile: the message at hand is not done. */
inline await(thread) {
  do
  :: answersRung[thread] ->
#ifndef MUTANT_CLEAR_AFTER_RECEIVING
    answersRung[thread] = false;
#endif
    answered = nempty(answers[thread]);
    if
    :: answered -> answers[thread]?_
    :: else
    fi;
#ifdef MUTANT_CLEAR_AFTER_RECEIVING
    answersRung[thread] = false;
#endif
    if
    :: answered -> answered = false; break
    :: else
    fi
#ifdef MUTANT_END_MEANWHILE
  :: terminated && !ending -> goto endOfSession
#endif
#ifdef MUTANT_FINISH_WHILE_ENDING
  :: terminated && ending -> goto finish
#endif
  od
}

/* Session.stop, and the answer to the front end that waits for it. */
inline stopQueue(thread) {
  if
  :: running[thread] ->
    send(thread, STOP, 0);
    await(thread);
#ifndef MUTANT_STOP_NOT_RECORDED
    running[thread] = false;
#endif
    mustRest[thread] = true
  :: else
  fi
}

/* Session.#startIfReady */
inline startQueue(thread) {
  if
  :: ready[thread] && !running[thread] && regionsOpen > 0 ->
    mustRest[thread] = false;
    send(thread, START, which[thread]);
    await(thread);
#ifdef MUTANT_START_NOT_RECORDED
    skip
#else
    running[thread] = true
#endif
  :: else
  fi
}

inline stopAll() {
  do
  :: at < THREADS -> stopQueue(at); at++
  :: else -> at = 0; break
  od
}

/* Session.changeMemory and SpreadHost.setMemory: every thread maps before anything goes on. */
inline changeMemory() {
#ifndef MUTANT_UNMAP_WITHOUT_STOP
  stopAll();
#endif
  regionsOpen = regions;
  do
  :: at < THREADS -> send(at, SET_MEMORY, regions); at++
  :: else -> at = 0; break
  od;
  do
#ifdef MUTANT_FIRST_ANSWER_COUNTS
  :: at < 1 -> await(at); at++
#else
  :: at < THREADS -> await(at); at++
#endif
  :: else -> at = 0; break
  od
}

/* setCall of vring-messages.ts: the old descriptor stays open until nobody rings it any more. */
inline changeCall(thread) {
  callOpen[callFd(thread, 1 - which[thread])] = true;
#ifdef MUTANT_CLOSE_CALL_BEFORE_ANSWER
  callOpen[callFd(thread, which[thread])] = false;
#endif
  if
  :: running[thread] -> send(thread, SET_CALL, 1 - which[thread]); await(thread)
  :: else
  fi;
  callOpen[callFd(thread, which[thread])] = false;
  which[thread] = 1 - which[thread]
}

/* Session.change with Vring.setKick: another descriptor takes the place of the one that is closed. */
inline changeKick(thread) {
#ifdef MUTANT_CLOSE_KICK_BEFORE_ANSWER
  kickOpen[thread] = false;
#endif
  stopQueue(thread);
  kickOpen[thread] = true;
  startQueue(thread)
}

proctype Session() {
  bool running[THREADS];
  bool ready[THREADS];
  bit which[THREADS];
  byte said, at, regions;
  bool answered, ending;
  do
  :: at < THREADS ->
    kickOpen[at] = true;
    callOpen[callFd(at, 0)] = true;
    at++
  :: else -> at = 0; break
  od;
end:
  do
  :: said < MESSAGES ->
    said++;
    if
    :: at = 0
    :: at = 1
    fi;
    if
    :: ready[at] = true; startQueue(at)
    :: ready[at] = false; stopQueue(at)
    :: true -> changeCall(at)
    :: changeKick(at)
    :: at == 0 ->
      regions++;
      changeMemory();
      do
      :: at < THREADS -> startQueue(at); at++
      :: else -> break
      od
    fi;
    at = 0
  :: terminated -> break
  :: said == MESSAGES -> break /* the front end leaves */
  od;

/* Session.end: no message is at hand. */
endOfSession:
  ending = true;
  at = 0;
  stopAll();
  do
  :: at < THREADS ->
    kickOpen[at] = false;
    callOpen[callFd(at, 0)] = false;
    callOpen[callFd(at, 1)] = false;
    at++
  :: else -> at = 0; break
  od;
  regions = 0;
  changeMemory();

/* VhostUserServer.close waits for the end of a session: then ServingThread.finish, here and on every other thread. */
  terminated;
finish:
  finished = true
}

proctype Signal() {
  terminated = true
}

init {
  atomic {
    run QueueThread(0);
    run QueueThread(1);
    run Session();
    run Signal()
  }
}

#ifdef LIVE
/* After SIGTERM everything ends, whoever is slow: under weak fairness. */
ltl ended { <> finished }
#endif
