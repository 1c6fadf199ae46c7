/* Frames for a guest: a port that has some, a device that takes buffers as frames need them and keeps what there is no room for, a
   driver that refills its queue when it was notified. Notifications are suppressed both ways, by EVENT_IDX. One access to shared
   memory is a step; handshake.pml has the store buffers. */

/* Indices wrap at twice the size, and start just before that. */
#ifndef SIZE
#define SIZE 2
#endif
#define MODULUS (2 * SIZE)
#define START (MODULUS - 1)
#define wrapped(index) ((index) & (MODULUS - 1))
/* Whether an index that goes from before to now passes event, §2.7.7.2. */
#define passes(event, before, now) (wrapped((now) - (event) - 1) < wrapped((now) - (before)))

#ifndef FRAMES
#define FRAMES 4
#endif
/* Buffers that a frame takes at most: VIRTIO_NET_F_MRG_RXBUF. */
#ifndef NEEDS_MAX
#define NEEDS_MAX 2
#endif

/* Shared: what the driver writes, then what the device writes, then the two eventfds. */
byte availIndex = START, usedEvent = START;
byte usedIndex = START, availEvent = START;
bool kicked, called;

/* Frames that the port has, whether it waits until the device asks for more, and buffers that a frame waits for. */
byte left = FRAMES;
bool isPortWaiting;
byte waits;
/* Buffers that were filled, and those that the driver has back. */
byte filled, returned;

/* SplitQueue.take: a look at an empty ring asks for a kick, and looks again. */
inline take() {
  available = availIndex;
  if
  :: available == nextAvail ->
#ifdef MUTANT_LOOK_BEFORE_ARM
    available = availIndex;
#endif
#ifdef MUTANT_ARM_ONE_LATE
    availEvent = wrapped(nextAvail + 1);
#else
    availEvent = nextAvail;
#endif
#if !defined(MUTANT_NO_SECOND_LOOK) && !defined(MUTANT_LOOK_BEFORE_ARM)
    available = availIndex
#endif
  :: else
  fi;
  d_step {
    got = available != nextAvail;
    nextAvail = (got -> wrapped(nextAvail + 1) : nextAvail);
    held = (got -> held + 1 : held);
    available = 0
  }
}

/* ReceiveBuffers.deliver: what was taken stays held until there is enough. */
inline deliver(needs) {
  got = true;
  do
  :: got && held < needs -> take()
  :: else -> break
  od;
  true;
  d_step {
    got = held >= needs;
    if
    :: got ->
      held = held - needs;
      nextUsed = wrapped(nextUsed + needs);
      filled = filled + needs
    :: else ->
#ifdef MUTANT_HELD_IS_FORGOTTEN
      held = 0
#else
      skip
#endif
    fi
  }
}

/* SplitQueue.publish */
inline publish() {
  if
  :: published != nextUsed ->
    d_step { before = published; published = nextUsed };
    usedIndex = nextUsed;
    event = usedEvent;
    if
    :: passes(event, before, published) -> called = true
    :: else
    fi;
    d_step { before = 0; event = 0 }
  :: else
  fi
}

/* NetReceive.receive */
inline receive() {
  left--;
  if
  :: size = 1
  :: NEEDS_MAX > 1 -> size = 2
  fi;
  deliver(size);
  if
  :: got ->
#ifndef MUTANT_NOT_PUBLISHED
    publish()
#else
    skip
#endif
  :: else -> d_step { waits = size; isPortWaiting = true }
  fi;
  d_step { size = 0; got = false }
}

/* NetReceive.deliverWaiting: after the frame that waits, one buffer is looked at and held. */
inline deliverWaiting() {
#ifndef MUTANT_NOT_TRIED_AGAIN
  if
  :: waits > 0 ->
    deliver(waits);
    waits = (got -> 0 : waits)
  :: else
  fi;
#endif
  if
  :: held == 0 -> take()
  :: else
  fi;
  publish();
#ifndef MUTANT_PORT_NOT_RESUMED
  isPortWaiting = waits > 0;
#endif
  got = false
}

active proctype Device() {
  byte nextAvail = START, nextUsed = START, published = START, available, held, before, event, size;
  bool got;
  deliverWaiting();
end:
  do
  :: d_step { kicked -> kicked = false }; deliverWaiting()
  :: left > 0 && !isPortWaiting -> receive()
  od
}

/* The driver adds the buffers that it has, and kicks if that is wanted. */
inline refill() {
  d_step { before = added; added = wrapped(added + free); free = 0 };
  availIndex = added;
  event = availEvent;
  if
  :: passes(event, before, added) -> kicked = true
  :: else
  fi;
  d_step { before = 0; event = 0 }
}

/* It takes what is used, refills when half of the ring is free, asks for a call, and looks again. */
inline poll() {
  do
  :: usedIndex != lastUsed -> d_step { lastUsed = wrapped(lastUsed + 1); returned++; free++ }
  :: else ->
    if
    :: 2 * free >= SIZE -> refill()
    :: else
    fi;
    usedEvent = lastUsed;
    if
    :: usedIndex == lastUsed -> break
    :: else
    fi
  od
}

active proctype Driver() {
  byte added = START, lastUsed = START, free = SIZE, before, event;
  refill();
end:
  do
  :: d_step { called -> called = false }; poll()
  od
}

active proctype Rest() {
  timeout;
  assert(returned == filled); /* the driver sleeps beside its frames */
  assert(left == 0 && waits == 0) /* a frame waits for ever */
}
