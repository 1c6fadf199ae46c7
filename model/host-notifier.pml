/* Who hears the doorbell of a queue: the machine of src/notify/host-notifier.ts on the queue's thread, a kernel that may refuse,
   a guest that rings on a processor of its own, and somebody else who takes the doorbell and gives it back. A write of the guest
   is two steps in the kernel, as in kvm_io_bus_write: find who is registered, then count; unregister waits for those in between.
   Memory is sequentially consistent here: what store buffers do is the matter of handshake.pml. */

#ifndef RINGS
#define RINGS 3
#endif
#ifndef EVENTS
#define EVENTS 8
#endif
#define GRABS_MAX 2

mtype = { UNASSIGNED, ASSIGNED, TRAPPED, GRABBED, LENT };

/* Eventfds: ours and the owner's. Each is opened afresh; what the kernel would count into one that is closed is lost. */
#define OWN 0
#define OWNER 1
#define NOBODY 2
bool isOpen[2];
byte count[2];

/* The kernel: whom it rings, and whether a write has found him and not yet counted. */
byte registered = NOBODY;
bool between[2];

/* The machine. */
mtype state = UNASSIGNED;
bool wanted;
byte grabs;
bool attached;

/* Kicks that left the guest, on their way to the queue's thread. */
byte trapped;

/* Requests in the ring; the handler serves all there are. */
byte made;
byte served;

/* The owner has read a count and is not done with the ring. */
bool ownerBusy;

/* ---- The queue's thread: actions. ---- */

inline open(bell) {
  d_step {
    assert(!isOpen[bell]);
    isOpen[bell] = true;
    count[bell] = 0
  }
}

inline ring(bell) {
  d_step {
    assert(isOpen[bell]);
    count[bell] = 1
  }
}

/* Leaves in accepted whether the kernel did. */
inline register(bell) {
  if
  :: d_step { assert(registered == NOBODY && isOpen[bell]); registered = bell; accepted = true }
  :: accepted = false
  fi
}

/* No write is under way any more when it returns: the kernel waits for those that found him. */
inline unregister(bell) {
  d_step {
    assert(registered == bell);
    registered = NOBODY
  };
#ifndef MUTANT_UNREGISTER_WITHOUT_WAITING
  !between[bell]
#endif
}

inline close(bell) {
  d_step {
    assert(registered != bell && !between[bell]); /* close before unregister */
    assert(isOpen[bell]);
    isOpen[bell] = false
  }
}

/* A handler of ours, or of the owner. */
inline serve(bell) {
  d_step {
    count[bell] = 0;
    served = made
  }
}

inline drain() {
  assert(!attached); /* a handler stays while its doorbell is drained */
  if
  :: count[OWN] > 0 -> serve(OWN)
  :: else
  fi
}

/* BEGIN of the table. */
inline begin() {
  open(OWN);
  register(OWN);
  state = (accepted -> ASSIGNED : TRAPPED);
  attached = true;
#ifndef MUTANT_BEGIN_WITHOUT_A_LOOK
  ring(OWN)
#endif
}

/* END and END_TRAPPED of the table. */
inline finish() {
#ifndef MUTANT_HANDLER_STAYS
  attached = false;
#endif
#ifdef MUTANT_DRAIN_FIRST
  drain();
#endif
#ifdef MUTANT_CLOSE_FIRST
  drain();
  close(OWN);
#endif
  if
  :: state == ASSIGNED -> unregister(OWN)
  :: else
  fi;
#ifndef MUTANT_CLOSE_FIRST
#if !defined(MUTANT_DRAIN_FIRST) && !defined(MUTANT_NO_DRAIN)
  drain();
#endif
  assert(count[OWN] == 0); /* a count is closed that nobody handled */
  close(OWN)
#endif
}

/* ---- The queue's thread: one event at a time, as the transport and the loop bring them. ---- */

inline start() {
  wanted = true;
  if
  :: state == UNASSIGNED -> begin()
  :: state == TRAPPED ->
    register(OWN);
    state = (accepted -> ASSIGNED : TRAPPED)
  :: else
  fi
}

inline stop() {
  wanted = false;
  if
  :: state == ASSIGNED || state == TRAPPED ->
    finish();
    state = UNASSIGNED
  :: else
  fi
}

inline grab() {
  if
  :: state == ASSIGNED || state == TRAPPED -> finish()
  :: else
  fi;
  grabs++;
  if
  :: state != LENT -> state = GRABBED
  :: else
  fi
}

inline release() {
  grabs--;
  if
  :: grabs == 0 && wanted -> begin()
  :: grabs == 0 && !wanted -> state = UNASSIGNED
  :: else
  fi
}

inline lend() {
  open(OWNER);
  register(OWNER);
  ownerRegistered = accepted;
  state = LENT;
#ifndef MUTANT_LEND_WITHOUT_A_LOOK
  ring(OWNER)
#endif
}

inline reclaim() {
  !ownerBusy; /* he has stopped the queue, as the answer to GET_VRING_BASE says */
  state = GRABBED;
  if
  :: ownerRegistered -> unregister(OWNER)
  :: else
  fi;
  ownerRegistered = false;
  close(OWNER)
}

inline kick() {
  trapped--;
  if
#ifndef MUTANT_IGNORE_TRAPPED_KICKS
  :: state == TRAPPED || state == ASSIGNED -> ring(OWN)
#endif
#ifndef MUTANT_KEEP_KICKS_FROM_OWNER
  :: state == LENT -> ring(OWNER)
#endif
  :: else
  fi
}

proctype QueueThread() {
  bool accepted, ownerRegistered;
  byte events;

end:
  do
  :: attached && count[OWN] > 0 ->
    /* No handler runs after stop returned. */
    assert(state == ASSIGNED || state == TRAPPED);
    serve(OWN)
  :: trapped > 0 -> kick()
  :: events < EVENTS ->
    events++;
    if
    :: start()
    :: stop()
    :: grabs < GRABS_MAX -> grab()
    :: grabs > 0 && (grabs > 1 || state != LENT) -> release()
    :: state == GRABBED -> lend()
    :: state == LENT -> reclaim()
    fi;
    /* Registered if and only if exactly one has it. */
    assert((registered == OWN) == (state == ASSIGNED));
    assert((registered == OWNER) == (state == LENT && ownerRegistered))
  od
}

proctype Owner() {
end:
  do
  :: atomic { state == LENT && count[OWNER] > 0 -> ownerBusy = true };
    serve(OWNER);
    ownerBusy = false
  od
}

proctype Guest() {
  byte whom;

end:
  do
  :: made < RINGS ->
    made++;
    atomic {
      whom = registered;
      if
      :: whom != NOBODY -> between[whom] = true
      :: else -> trapped++
      fi
    };
    if
    :: whom != NOBODY ->
      d_step {
        /* Nothing is counted where nobody can read it. */
        assert(isOpen[whom]);
        count[whom] = 1;
        between[whom] = false
      }
    :: else
    fi
  od
}

/* Nothing can move any more: whoever listens has nothing left to do. */
proctype Rest() {
end:
  timeout;
  if
  :: state == ASSIGNED || state == TRAPPED || state == LENT -> assert(served == made) /* a kick is lost */
  :: else
  fi
}

init {
  atomic {
    run QueueThread();
    run Owner();
    run Guest();
    run Rest()
  }
}
