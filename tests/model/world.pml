/* world.pml - what the models share: processes that can be killed between any
   two of their steps, and futexes.
   A model says beforehand PROCESSES, how many of them there are (numbered from
   1, as _pid), and may be compiled with
     KILLS    how many of them are killed, at any time; none
     SLICES   1: a sleeper looks again after a while (host/futex.h), but only
              when nobody at all is awake: the last resort, as slow as can be.
              0: it sleeps until it is woken, for ever if need be
     MISTAKE  the number of the seeded mistake; 0: none
   and which of them are meant:
     KILLABLE(i)  whether process i may be killed now; always
     QUIET        whether nobody outside is about to do something; always
     HURRIED(i)   whether its sleeps may end by a deadline; never
   Each process does a bounded amount of work and then ends. So every run must
   come to an end: one that does not, because somebody sleeps for ever, is an
   invalid end state; one that goes in circles is a non-progress cycle. No
   fairness has to be assumed for that.
   SPDX-License-Identifier: MIT */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef SLICES
#define SLICES 0
#endif
#ifndef MISTAKE
#define MISTAKE 0
#endif
#ifndef KILLABLE
#define KILLABLE(i) true
#endif

#ifndef QUIET
#define QUIET true
#endif
#ifndef HURRIED
#define HURRIED(i) false
#endif

#define AWAKE 0
#define self _pid

bool killed[PROCESSES + 1]; /* does not one step more */
bool gone[PROCESSES + 1];   /* ended, or dead and buried by the kernel */
byte bed[PROCESSES + 1];    /* the futex on which it sleeps; AWAKE */
byte running = PROCESSES;   /* neither asleep nor gone */
byte kills;

/* ---- futexes: what the kernel does in one step ---- */

/* One process gets up; to be used in a d_step. */
inline rouse(who)
{
  bed[who] = AWAKE;
  if
  :: killed[who] /* the wake-up is lost with it */
  :: else -> running++
  fi
}

/* FUTEX_WAIT: to bed, if the word is as it was seen (`same`); and what
   host/futex.c makes of it. */
inline futex_wait(futex, same)
{
  d_step {
    if
    :: same -> bed[self] = futex; running--
    :: else
    fi
  }
  if
  :: bed[self] == AWAKE
#if SLICES
  :: d_step { bed[self] != AWAKE && running == 0 && QUIET -> rouse(self) }
#endif
  :: d_step { bed[self] != AWAKE && HURRIED(self) -> rouse(self) }
  fi
}

/* FUTEX_WAKE of one, whoever that is. The d_step of the caller ends before. */
inline futex_wake_one(futex)
{
  if
  :: d_step { bed[1] == futex -> rouse(1) }
  :: d_step { bed[2] == futex -> rouse(2) }
#if PROCESSES > 2
  :: d_step { bed[3] == futex -> rouse(3) }
#endif
#if PROCESSES > 3
  :: d_step { bed[4] == futex -> rouse(4) }
#endif
#if PROCESSES > 4
  :: d_step { bed[5] == futex -> rouse(5) }
#endif
  :: else
  fi
}

/* FUTEX_WAKE of all. Uses the caller's `i`. */
inline futex_wake_all(futex)
{
  d_step {
    i = 1;
    do
    :: i <= PROCESSES ->
       if
       :: bed[i] == futex -> rouse(i)
       :: else
       fi;
       i++
    :: else -> break
    od;
    i = 0
  }
}

/* ---- the end of a process ---- */

/* Of its own will. */
inline end()
{
  d_step { gone[self] = true; running-- }
}

/* After a kill, when the kernel has done what it does for the dead; in the
   same d_step. */
inline bury()
{
  bed[self] = AWAKE;
  gone[self] = true;
  running--
}

/* A process that does `work` and may be killed. */
#if KILLS
#define MORTAL(work) { work; end() } unless { killed[self] -> die() }
#else
#define MORTAL(work) work; end()
#endif

/* SIGKILL. A killed process is awake: it takes notice. */
inline send_kill(victim)
{
  d_step {
    kills < KILLS && !gone[victim] && !killed[victim] && KILLABLE(victim) ->
    killed[victim] = true;
    kills++;
    if
    :: bed[victim] != AWAKE -> running++
    :: else
    fi
  }
}

/* What init does when it has started the others: kills, at any time, or stops
   doing so. */
inline kill_some()
{
  do
#if KILLS
  :: send_kill(1)
  :: send_kill(2)
#if PROCESSES > 2
  :: send_kill(3)
#endif
#if PROCESSES > 3
  :: send_kill(4)
#endif
#if PROCESSES > 4
  :: send_kill(5)
#endif
#endif
  :: break
  od
}
