/* queue.pml - messages pass through host/queue.c: two locks, a count and two
   places on each side, and the sleep of host/sleepers.c.
   The locks are taken for granted here (lock.pml): they are released when their
   holder dies. A message is in two halves, so that one could be torn. Chunks,
   blocks and transactions are not modelled: messages stand in one row of cells.
   SPDX-License-Identifier: MIT */

#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef EACH
#define EACH 1 /* messages of one producer */
#endif
#ifndef SHARE
#define SHARE 9 /* messages that a consumer gets before it has enough */
#endif
#ifndef BOUND
#define BOUND 0 /* maxsize */
#endif

#define PROCESSES (PRODUCERS + CONSUMERS)
#define MESSAGES (PRODUCERS * EACH)

/* The last consumer stays: without any, producers may well wait for ever. */
#define KILLABLE(i) (i < PROCESSES)

/* The queue is closed when no producer is there any more and, but for EARLY=1,
   all that was put has been got: so a consumer that sleeps while a message is
   there sleeps for ever. Who closes it is not counted as running. */
#ifndef EARLY
#define EARLY 0
#endif
#define PRODUCING (!gone[1] || !gone[PRODUCERS])
#define READY (!PRODUCING && (EARLY || got == put))
#define QUIET (!READY || closed)

/* The words that count; "closed" is a bit of the first. */
byte put, got;
bool closed;

#include "world.pml"
#include "sleepers.pml"

#define PUT 1 /* the futexes: the other side's word */
#define GOT 2

bit put_turn, got_turn; /* which of two places holds: also in the words */

byte tail[2], head[2];
byte put_lock, got_lock; /* who holds it */
byte got_seen, put_seen;
bool getters, putters; /* flags: somebody may sleep */

byte first[MESSAGES + 1], second[MESSAGES + 1]; /* the cells */

/* For the properties only. */
bool acknowledged[MESSAGES + 1], taken[MESSAGES + 1];
byte latest[PRODUCERS + 1]; /* message taken */

/* What a process keeps from one call to the next: nothing. */
inline forget()
{
  message = 0;
  half = 0;
  at = 0;
  seen = 0;
  size = 0;
  slept = false;
  seen_closed = false
}

/* The kernel releases what the dead held. */
inline die()
{
  d_step {
    if
    :: put_lock == self -> put_lock = 0
    :: else
    fi;
    if
    :: got_lock == self -> got_lock = 0
    :: else
    fi;
    forget();
    bury()
  }
}

/* ---- producers ---- */

inline unlock(lock)
{
  lock = 0
}

/* put_some, under the lock: `done`, or what was seen of the other side. */
inline put_some()
{
  d_step {
    at = tail[put_turn];
    done = true;
    if
    :: BOUND > 0 && put - got_seen >= BOUND ->
       seen = got;
       got_seen = got;
       done = put - got_seen < BOUND
    :: else
    fi
  }
  if
  :: done ->
     first[at] = message;
#if MISTAKE == 6 /* is published before it is whole */
     commit_put();
     second[at] = message
#else
     second[at] = message;
     commit_put()
#endif
  :: !done
  fi
}

inline commit_put()
{
#if MISTAKE == 7 /* place and count change by two stores */
  put++;
  tail[put_turn] = at + 1
#else
  tail[1 - put_turn] = at + 1;
  d_step { put++; put_turn = 1 - put_turn }
#endif
}

/* queue_put */
inline queue_put()
{
  do
  :: d_step { put_lock == 0 -> put_lock = self }
     put_some();
     unlock(put_lock);
     if
     :: done -> sleepers_wake_one(getters, PUT); break
     :: !done -> sleepers_wait(putters, GOT, (got == seen)); slept = true
     fi
  od;
#if BOUND
  if
  :: slept -> sleepers_wake_one(putters, GOT)
  :: !slept
  fi;
#endif
  atomic {
    acknowledged[message] = true;
    forget()
  }
}

proctype producer()
{
  byte message, half, at, seen, size, number;
  bool done, slept, seen_closed;
  MORTAL(
    for (number : 1 .. EACH) {
      message = (self - 1) * EACH + number;
      queue_put()
    })
}

/* ---- consumers ---- */

#define SENDER ((message - 1) / EACH + 1)

/* For the properties: the message is this process's now. */
inline receive()
{
  assert(message != 0 && message == half);
  assert(!taken[message] && latest[SENDER] < message);
  taken[message] = true;
  latest[SENDER] = message
}

inline commit_get()
{
  head[1 - got_turn] = at + 1;
  d_step { receive(); got++; got_turn = 1 - got_turn }
}

/* get_some, under the lock: `done`, or what was seen of the other side. */
inline get_some()
{
  d_step {
    at = head[got_turn];
    if
    :: put_seen < got + 1 ->
       seen = put;
       seen_closed = closed;
       put_seen = put
    :: else
    fi;
    done = put_seen > got
  }
  if
  :: done ->
     d_step { message = first[at]; half = second[at] }
     commit_get()
  :: !done
  fi
}

/* queue_size: exact at one moment, that of the look at `put`. */
inline queue_size()
{
  do
  :: at = got;
     d_step { seen = put; size = put - got }
#if MISTAKE != 8 /* does not look again */
     if
     :: at == got -> break
     :: else
     fi
#else
     break
#endif
  od;
  assert(seen - at == size)
}

/* queue_get; `done` is false at the end of a queue that is closed. */
inline queue_get()
{
  do
  :: d_step { got_lock == 0 -> got_lock = self }
     get_some();
     unlock(got_lock);
     if
     :: done -> break
     :: !done && seen_closed -> break
     :: else ->
        sleepers_wait(getters, PUT, (put == seen && closed == seen_closed));
        slept = true
     fi
  od;
#if BOUND
  if
  :: done -> sleepers_wake_one(putters, GOT)
  :: !done
  fi;
#endif
  if
  :: slept && done ->
     queue_size();
     if
#if MISTAKE != 9 /* does not pass the wake-up on */
     :: size > 0 -> sleepers_wake_one(getters, PUT)
#endif
     :: else
     fi
  :: else
  fi;
  atomic { forget() }
}

proctype consumer()
{
  byte message, half, at, seen, size, number;
  bool done, slept, seen_closed;
  MORTAL(
    do
    :: queue_get();
       if
       :: done && number + 1 < SHARE -> done = false; number++
       :: done && number + 1 == SHARE -> break
       :: !done -> break
       fi
    od)
}

/* ---- the end ---- */

/* queue_close, when all has been put. Wakes all whatever the flags say: one that
   was woken may be about to set its flag again. */
inline queue_close()
{
  READY && put_lock == 0;
  closed = true;
#if MISTAKE != 10 /* wakes only if the flag is set */
  getters = true;
  putters = true;
#endif
  sleepers_wake_all(getters, PUT);
  sleepers_wake_all(putters, GOT)
}

/* Whatever was acknowledged has been taken, as one consumer is left at least.
   At most one message of each that was killed is there beside it. */
inline check_all()
{
  assert(got == put);
  d_step {
    for (i : 1 .. MESSAGES) { assert(!acknowledged[i] || taken[i]) }
  }
}

init
{
  byte i;
  atomic {
    run producer();
#if PRODUCERS > 1
    run producer();
#endif
    run consumer();
#if CONSUMERS > 1
    run consumer();
#endif
  }
  kill_some();
  queue_close();
  running == 0 && gone[PROCESSES];
  check_all()
}
