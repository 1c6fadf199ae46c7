/* The credit of one vsock connection, one direction: a sender with a stream of bytes, a receiver with a buffer, and an endpoint
   that takes bytes when it likes. §5.10.6.3. Counts wrap at MODULUS; packets and updates are queued in order. */

#ifndef BUFFER
#define BUFFER 3
#endif
#ifndef BYTES
#define BYTES 14
#endif
#define MODULUS 8
#define wrap(count) ((count) & (MODULUS - 1))

#ifdef MUTANT_CREDIT_WITHOUT_WRAP
#define inFlight (sent - peerFwdCnt)
#else
#define inFlight wrap(sent - peerFwdCnt)
#endif
#ifdef MUTANT_ONE_MORE
#define room (BUFFER + 1 - inFlight)
#else
#define room (BUFFER - inFlight)
#endif

chan packets = [8] of { byte };
chan updates = [8] of { byte };

/* The sender's. */
short sent, peerFwdCnt;
byte left = BYTES;
/* The receiver's. */
byte waiting, fwdCnt, told, total;

/* The sender counts what it sends. */
inline sendBytes() {
  sent = wrap(sent + count);
  left = left - count;
  packets!count
}

/* The sender reads both words of a packet. */
inline heardUpdate() {
  updates?heard -> peerFwdCnt = heard
}

/* The receiver checks what arrives against its buffer. */
inline receivedBytes() {
  packets?count ->
  assert(waiting + count <= BUFFER); /* more bytes than credit */
  waiting = waiting + count;
  total = total + count
}

/* The endpoint takes a byte. */
inline takenByte() {
  waiting--;
  fwdCnt = wrap(fwdCnt + 1)
}

active proctype Sender() {
  byte count, heard;
end:
  do
  :: atomic {
      left > 0 && room > 0 ->
      if
      :: count = 1
      :: left > 1 && room > 1 -> count = 2
      fi;
      sendBytes()
    }
  :: atomic { heardUpdate() }
  od
}

active proctype Receiver() {
  byte count;
end:
  do
  :: atomic {
      receivedBytes()
    }
  :: atomic {
      waiting > 0 ->
      takenByte();
#ifndef MUTANT_NO_UPDATE
      if
#ifdef MUTANT_UPDATE_WHEN_OVERFULL
      :: wrap(fwdCnt - told) > BUFFER -> told = fwdCnt; updates!fwdCnt
#else
      :: 2 * wrap(fwdCnt - told) >= BUFFER -> told = fwdCnt; updates!fwdCnt
#endif
      :: else
      fi
#endif
    }
  od
}

active proctype Rest() {
  timeout;
  assert(total == BYTES) /* bytes wait for ever */
}
