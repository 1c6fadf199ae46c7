/* The doorbell of a queue while the queue goes from host to host: QueueRegisters and Doorbell of src/transports/bus on
   the loop of the transport, a kernel that may refuse, a guest that rings on a processor of its own, and two hosts that
   run the queue, each at its own pace. A write of the guest is two steps in the kernel, as in kvm_io_bus_write: find the
   eventfd that is registered, then count; giving it back waits for those in between. Memory is sequentially consistent
   here: what store buffers do is the subject of handshake.pml. */

#ifndef RINGS
#define RINGS 4
#endif
#ifndef EVENTS
#define EVENTS 6
#endif

#define HOSTS 2

/* Eventfds. One that is closed may be made anew; what the kernel would count into a closed one is lost. Two are enough:
   while the kernel keeps one it takes no other. */
#define BELLS 2
#define NONE BELLS
bool isOpen[BELLS];
bool rung[BELLS];

/* The kernel: the eventfd it rings, and those that a write has found and not yet rung. */
byte registered = NONE;
bool between[BELLS];

mtype = { NOTHING, START, STOP, STARTED, STOPPED, REFUSED, IDLE, STARTING, RUNNING, STOPPING };

/* The queue's side of a host: what it is asked, what it has answered, the eventfd it listens to. */
mtype asked[HOSTS] = NOTHING;
mtype answered[HOSTS] = NOTHING;
bool listens[HOSTS];

/* QueueRegisters. The doorbell that is open, and one that the kernel would not give back. */
mtype state = IDLE;
byte bell = NONE;
byte kept = NONE;
byte host;

/* Writes to the doorbell that left the guest, on their way to the loop. */
byte trapped;

/* Requests in the ring; a host serves all there are. */
byte made;
byte served;

/* ---- Doorbell. ---- */

/* Doorbell's constructor. The kernel may refuse: then every write leaves the guest, or rings what the kernel kept. */
inline open() {
  d_step {
    bell = (isOpen[0] -> 1 : 0);
    assert(!isOpen[bell] && !between[bell]);
    isOpen[bell] = true;
    rung[bell] = false
  };
  if
  :: registered == NONE -> registered = bell
  :: true
  fi
}

inline ring(which) {
  d_step {
    assert(isOpen[which]);
    rung[which] = true
  }
}

/* Doorbell.close: give back, then close; what the kernel does not give back is kept. */
inline close() {
#ifdef MUTANT_CLOSED_FIRST
  release();
#endif
  if
#ifndef MUTANT_NEVER_GIVEN_BACK
  :: registered == bell ->
    if
    :: registered = NONE;
#ifndef MUTANT_GIVEN_BACK_WITHOUT_WAITING
      !between[bell];
#endif
      release()
    :: keep()
    fi
#endif
  :: else -> release()
  fi;
  bell = NONE
}

/* close(2) */
inline release() {
  d_step {
    assert(registered != bell); /* an eventfd is closed before it is given back */
    assert(!listens[0] && !listens[1]); /* a doorbell is closed while a host listens */
    isOpen[bell] = false;
    rung[bell] = false
  }
}

/* Doorbell.#keep: from now on the loop watches it. */
inline keep() {
#ifdef MUTANT_KEPT_ONE_IS_CLOSED
  release()
#else
  kept = bell
#endif
}

/* ---- QueueRegisters. ---- */

/* QueueRegisters.kick */
inline kick() {
  if
#ifndef MUTANT_KICKS_DROPPED
#ifdef MUTANT_KICKS_DROPPED_WHILE_STARTING
  :: state == RUNNING || state == STOPPING -> ring(bell)
#else
  :: state != IDLE -> ring(bell)
#endif
#endif
  :: else
  fi
}

/* QueueRegisters.start, up to the answer of the host. */
inline start() {
  open();
  state = STARTING;
  asked[host] = START
}

/* Its end. A host may refuse; then the queue does not run. */
inline endStart() {
  if
  :: answered[host] == STARTED -> state = RUNNING
  :: else ->
    state = IDLE;
    close()
  fi;
  answered[host] = NOTHING
}

/* QueueRegisters.stop */
inline stop() {
#ifdef MUTANT_CLOSED_BEFORE_STOPPED
  close();
#endif
  state = STOPPING;
  asked[host] = STOP
}

inline endStop() {
  answered[host] = NOTHING;
  state = IDLE;
#ifndef MUTANT_CLOSED_BEFORE_STOPPED
  close()
#endif
}

/* The watch of Doorbell.#keep: clear, then pass it on. */
inline lateRing() {
#ifdef MUTANT_LATE_RING_CLEARED_LATE
  kick();
  rung[kept] = false
#else
  rung[kept] = false;
  kick()
#endif
}

/* The loop of the transport: DeviceRegisters asks for one start or stop after the other, of either host. */
proctype Registers() {
  byte events;

end:
  do
#ifndef MUTANT_KEPT_ONE_UNWATCHED
  :: kept != NONE && rung[kept] -> lateRing()
#endif
  :: trapped > 0 -> trapped--; kick()
  :: state == IDLE && events < EVENTS ->
    events++;
    if
    :: host = 0
    :: host = 1
    fi;
    start()
  :: state == STARTING && answered[host] != NOTHING -> endStart()
  :: state == RUNNING && events < EVENTS -> events++; stop()
#ifdef MUTANT_STARTED_BESIDE
  :: state == RUNNING && asked[1 - host] == NOTHING && !listens[1 - host] -> asked[1 - host] = START
#endif
  :: state == STOPPING && answered[host] != NOTHING -> endStop()
  od
}

/* ---- The hosts. ---- */

inline serve() {
  d_step {
    assert(!(listens[0] && listens[1])); /* two hosts run one queue */
    served = made
  }
}

/* QueueHost: it looks at the ring when it starts, and then whenever its eventfd is rung. */
proctype Host(byte self) {
end:
  do
  :: asked[self] == START ->
    asked[self] = NOTHING;
    if
    :: listens[self] = true;
#ifndef MUTANT_NO_LOOK_ON_START
      serve();
#endif
      answered[self] = STARTED
    :: answered[self] = REFUSED
    fi
  :: listens[self] && rung[bell] ->
#ifdef MUTANT_CLEARED_AFTER_SERVING
    serve();
    rung[bell] = false
#else
    rung[bell] = false;
    serve()
#endif
  :: asked[self] == STOP ->
    asked[self] = NOTHING;
    listens[self] = false;
    answered[self] = STOPPED
  od
}

/* ---- The guest and KVM. ---- */

proctype Guest() {
  byte found;

end:
  do
  :: made < RINGS ->
    made++;
    atomic {
      found = registered;
      if
      :: found != NONE -> between[found] = true
      :: else -> trapped++
      fi
    };
    if
    :: found != NONE ->
      d_step {
        assert(isOpen[found]); /* an eventfd is rung that nobody can read */
        rung[found] = true;
        between[found] = false
      }
    :: else
    fi
  od
}

/* Nothing can move any more: whatever runs the queue has nothing left to do. */
proctype Rest() {
end:
  timeout;
  if
  :: state == RUNNING -> assert(served == made) /* a kick is lost */
  :: else
  fi
}

init {
  atomic {
    run Registers();
    run Host(0);
    run Host(1);
    run Guest();
    run Rest()
  }
}
