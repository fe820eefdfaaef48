/* lock.pml - a Lock changes hands: host/lock.c over a robust mutex of the C
   library's, and what the kernel does for it when its holder dies.
   LIBRARY=1 is the wait of the C library's own pthread_mutex_lock instead, with
   which heap_lock (host/heap.c) sleeps, in slices.
   SPDX-License-Identifier: MIT */

#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef LIBRARY
#define LIBRARY 0
#endif

/* Which are killed: anybody, or with HOLDERS=1 only who is inside. */
#ifndef HOLDERS
#define HOLDERS 0
#endif
#define KILLABLE(i) (!HOLDERS || inside[i])

/* HURRY=1: the first process gives up when its time is up, at any moment. */
#ifndef HURRY
#define HURRY 0
#endif
#define HURRIED(i) (HURRY && i == 1)

bool inside[4]; /* has been told that the lock is its own */

#include "world.pml"

#define MUTEX 1 /* the futex */

/* The word: who holds it (its number + 1), and the two flags. */
#define TID 7
#define WAITERS 8
#define DIED 16

byte word;

/* For the properties only. */
byte holder; /* who holds it, by the word; 0: nobody */
bool owed;   /* a holder has died: the next must be told */

/* In a d_step: the lock becomes this process's. */
inline take(value)
{
  assert(holder == 0 && told == owed);
  word = value;
  holder = self;
  owed = false;
  done = true
}

/* pthread_mutex_trylock: `done`, and `told` (EOWNERDEAD). Each compare-and-
   swap that succeeds is one step with the look before it. */
inline try(flags)
{
#if MISTAKE == 6 /* a look, and later a store */
  seen = word;
#endif
  d_step {
#if MISTAKE != 6
    seen = word;
#endif
    done = false;
    told = false;
    if
#if MISTAKE != 1 /* whoever comes after a death is not told */
    :: (seen & DIED) -> told = true; take(self | (seen & WAITERS) | flags)
#else
    :: (seen & DIED) -> take(self | (seen & WAITERS) | flags)
#endif
    :: seen == 0 -> take(self | flags)
    :: else
    fi;
    seen = 0
  }
}

/* The deadline ends a wait only if the word has not changed, with the flag set:
   futex_wait and announce see to that. */
inline give_up()
{
  if
#if MISTAKE == 7 /* one that was woken goes and tells nobody */
  :: HURRIED(self) -> late = true
#else
  :: HURRIED(self) && word == seen -> late = true
#endif
  :: true
  fi;
  seen = 0
}

/* Says in the word that somebody sleeps, and sleeps, unless it is free by now
   or its holder has died. */
inline wait_for_change()
{
  d_step {
    slept = true;
    seen = word;
    if
    :: (seen & TID) == 0 -> seen = 0
#if MISTAKE != 2 /* sleeps without saying so */
    :: else -> seen = seen | WAITERS; word = seen
#else
    :: else
#endif
    fi
  }
  if
  :: seen == 0
  :: seen != 0 ->
#if MISTAKE == 3 /* sleeps without comparing */
     futex_wait(MUTEX, true);
#else
     futex_wait(MUTEX, (word == seen));
#endif
     give_up()
  fi
}

/* lock_acquire */
inline acquire()
{
  late = false;
  pending = LIBRARY;
  do
  :: try((LIBRARY && slept -> WAITERS : 0));
     if
     :: done -> break
     :: !done -> wait_for_change();
        if
        :: late -> break
        :: !late
        fi
     fi
  od;
  if
#if MISTAKE != 4 /* who has slept does not say that others may */
  :: slept && done && !LIBRARY -> word = word | WAITERS
#endif
  :: else
  fi;
  d_step {
    pending = false;
    slept = false;
    done = false;
    told = false;
    inside[self] = !late
  }
}

/* lock_release, pthread_mutex_unlock */
inline release()
{
  d_step {
    pending = true;
    inside[self] = false;
    assert(holder == self && (word & TID) == self);
    seen = word;
    word = 0;
    holder = 0
  }
#if MISTAKE != 5 /* nobody is woken */
  if
  :: (seen & WAITERS) -> futex_wake_one(MUTEX)
  :: else
  fi;
#endif
  d_step { pending = false; seen = 0 }
}

/* What the kernel does with the list of robust mutexes of the dead
   (handle_futex_death). */
inline die()
{
  d_step {
    inside[self] = false;
    if
    :: holder == self -> holder = 0; owed = true
    :: else
    fi;
    if
    :: (word & TID) == self ->
       done = (word & WAITERS) != 0;
#if MISTAKE == 6 /* the flag is lost with the dead */
       word = DIED
#else
       word = (word & WAITERS) | DIED
#endif
    :: (word & TID) == 0 -> done = pending
    :: else -> done = false
    fi
  }
  if
  :: done -> futex_wake_one(MUTEX)
  :: !done
  fi;
  d_step {
    pending = false;
    done = false;
    slept = false;
    told = false;
    seen = 0;
    bury()
  }
}

proctype process()
{
  byte seen, round;
  bool slept, done, told, late;
  bool pending; /* the C library's note to the kernel: at work on the mutex */
  MORTAL(
    for (round : 1 .. ROUNDS) {
      acquire();
      if
      :: late
      :: else -> release()
      fi
    })
}

init
{
  atomic {
    run process();
    run process();
#if PROCESSES > 2
    run process();
#endif
  }
  kill_some()
}
