/* event.pml - those who wait for host/event.c, asleep or listening with an ear
   (host/bell.c), while others set and clear it. Whoever sets it may be killed;
   then the reaper rings every ear (bell_reap).
   Nobody may be left waiting when the event is set for good in the end.
   The heap lock is taken for granted, and so are the lists under it.
   SPDX-License-Identifier: MIT */

#ifndef SETTERS
#define SETTERS 2
#endif
#ifndef WAITERS
#define WAITERS 1
#endif
#ifndef LISTENERS
#define LISTENERS 1
#endif

#define PROCESSES (SETTERS + WAITERS + LISTENERS)
#define KILLABLE(i) (i <= SETTERS)

/* When no setter is left, init sets the event if none of them has done so. */
#define SETTING (!gone[1] || !gone[SETTERS])
#define QUIET (SETTING || finished)

bool finished;

#include "world.pml"
#include "sleepers.pml"

#define EVENT 1 /* the futex, which is the word */

byte times;   /* the word: how often it was set */
bool is_set;  /* its lowest bit */
bool waiters; /* flag: BELL_SLEEPERS */
bool joined;  /* flag: BELL_LISTENERS */

byte heap_lock; /* who holds it */

/* The bell. */
byte bell_arms, bell_rung;
byte armed[PROCESSES + 1], arms[PROCESSES + 1]; /* of a listener */
bool ear[PROCESSES + 1];                        /* readable */

/* ---- ringing ---- */

inline lock_heap()
{
  d_step { heap_lock == 0 -> heap_lock = self }
}

inline unlock_heap()
{
  heap_lock = 0
}

/* bell_ring. What is noted of a listener is kept in `noted`, by its number. */
inline bell_ring()
{
  count = bell_arms;
  if
  :: count == bell_rung /* nobody is armed */
  :: count != bell_rung ->
     /* find_armed */
     lock_heap();
     count = bell_arms;
     each = SETTERS + WAITERS + 1;
     do
     :: each <= PROCESSES -> noted[each] = armed[each]; each++
     :: each > PROCESSES -> break
     od;
     unlock_heap();
     /* ring_all */
     each = SETTERS + WAITERS + 1;
     do
     :: each <= PROCESSES ->
        d_step { ear[each] = ear[each] || noted[each] != 0; each++ }
     :: each > PROCESSES -> break
     od;
     /* disarm */
     lock_heap();
     each = SETTERS + WAITERS + 1;
     do
     :: each <= PROCESSES ->
        d_step {
          if
#if MISTAKE == 6 /* disarms one that has been armed again */
          :: noted[each] != 0 -> armed[each] = 0
#else
          :: noted[each] != 0 && armed[each] == noted[each] -> armed[each] = 0
#endif
          :: else
          fi;
          noted[each] = 0;
          each++
        }
     :: each > PROCESSES -> break
     od;
#if MISTAKE == 7 /* counts as rung who was armed meanwhile */
     bell_rung = bell_arms;
#else
     bell_rung = count;
#endif
     unlock_heap()
  fi;
  d_step { count = 0; each = 0 }
}

/* sleepers_wake, with a bell. */
inline tell()
{
  sleepers_wake_all(waiters, EVENT);
  if
  :: joined -> bell_ring()
  :: !joined
  fi
}

/* ---- who sets it ---- */

inline event_set()
{
  d_step {
    if
    :: !is_set -> is_set = true; times++
    :: else
    fi
  }
  tell()
}

inline event_clear()
{
  is_set = false
}

/* The kernel releases what the dead held. */
inline die()
{
  d_step {
    if
    :: heap_lock == self -> heap_lock = 0
    :: else
    fi;
    for (i : 1 .. PROCESSES) { noted[i] = 0 }
    count = 0;
    each = 0;
    i = 0;
    bury()
  }
}

/* The first of them clears it in between. */
proctype setter()
{
  byte count, each, i;
  byte noted[PROCESSES + 1];
  MORTAL(
    event_set();
    if
    :: self == 1 -> event_clear(); event_set()
    :: self != 1
    fi)
}

/* ---- who waits ---- */

/* event_wait */
proctype waiter()
{
  byte first;
  first = times;
  do
  :: !is_set && times == first ->
     sleepers_wait(waiters, EVENT, (!is_set && times == first))
  :: is_set || times != first -> break
  od;
  end()
}

/* bell_arm */
inline bell_arm()
{
#if MISTAKE == 8 /* is counted before it is armed */
  bell_arms++;
  d_step { arms[self]++; armed[self] = arms[self] }
#else
  d_step { arms[self]++; armed[self] = arms[self] }
  bell_arms++
#endif
}

/* Polls, and drains. */
inline hear()
{
  d_step { ear[self] -> ear[self] = false }
}

/* Joins; looks; polls, drains, arms, looks again (bell.h). */
proctype listener()
{
  joined = true;
#if MISTAKE == 9 /* looks before it is armed */
  do
  :: is_set -> break
  :: !is_set -> bell_arm(); hear()
  od;
#elif MISTAKE == 10 /* drains after it was armed */
  bell_arm();
  do
  :: is_set -> break
  :: !is_set -> ear[self]; bell_arm(); ear[self] = false
  od;
#else
  bell_arm();
  do
  :: is_set -> break
  :: !is_set -> hear(); bell_arm()
  od;
#endif
  end()
}

init
{
  byte count, each, i;
  byte noted[PROCESSES + 1];
  atomic {
    run setter();
#if SETTERS > 1
    run setter();
#endif
#if WAITERS > 0
    run waiter();
#endif
#if WAITERS > 1
    run waiter();
#endif
#if LISTENERS > 0
    run listener();
#endif
#if LISTENERS > 1
    run listener();
#endif
  }
  kill_some();
  !SETTING;
#if KILLS && MISTAKE != 11 /* nobody rings for the dead */
  d_step {
    for (each : 1 .. PROCESSES) { ear[each] = ear[each] || kills > 0 }
    each = 0
  }
#endif
  if
  :: !is_set -> event_set()
  :: is_set
  fi;
  finished = true
}
