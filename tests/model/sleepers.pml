/* sleepers.pml - host/sleepers.c: a word of flags beside the word that is slept
   on. Mistakes 1 to 5 are made here, whatever the model.
   SPDX-License-Identifier: MIT */

/* sleepers_wait, without the spinning: `same` says that the word is as it was
   seen. One that is late to clear the flag, for a change that was seen, may do
   so before we are asleep: hence the flag is compared as well. */
inline sleepers_wait(flag, futex, same)
{
#if MISTAKE != 1 /* sleeps without saying so */
  flag = true;
#endif
#if MISTAKE == 2 /* sleeps without comparing the word */
  futex_wait(futex, flag);
#elif MISTAKE == 1 || MISTAKE == 3 /* sleeps without comparing the flag */
  futex_wait(futex, same);
#else
  futex_wait(futex, (same && flag));
#endif
#if MISTAKE != 4 /* the one that was woken does not set the flag again */
  flag = true
#else
  skip
#endif
}

/* sleepers_wake of one: looks at the flag; clears it; wakes. */
inline sleepers_wake_one(flag, futex)
{
  if
  :: !flag
  :: d_step { flag -> flag = false }
#if MISTAKE != 5 /* clears the flag and wakes nobody */
     futex_wake_one(futex)
#endif
  fi
}

/* The same of all. */
inline sleepers_wake_all(flag, futex)
{
  if
  :: !flag
  :: d_step { flag -> flag = false }
#if MISTAKE != 5
     futex_wake_all(futex)
#endif
  fi
}
