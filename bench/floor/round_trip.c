/*
 * round_trip.c - the floor of a message to another process and its answer: two
 * futex words (mailbox.h), spinning for 5 us before sleeping, and asleep each
 * time. With the argument one_cpu, given when both processes are kept on one
 * CPU, only the latter, as round_trip_one_cpu.
 * SPDX-License-Identifier: MIT
 */
#include "mailbox.h"

int main(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "one_cpu") == 0) {
    measure_trip("round_trip_one_cpu", 20000, 0);
    return 0;
  }
  measure_trip("round_trip", 200000, 5e-6);
  measure_trip("round_trip_asleep", 20000, 0);
  return 0;
}
