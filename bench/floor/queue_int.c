/*
 * queue_int.c - the floor of a queue of integers: messages of 8 bytes from one
 * process to another through a ring behind robust mutexes.
 * SPDX-License-Identifier: MIT
 */
#include "ring.h"

int main(void)
{
  measure_ring("queue_int", 8, 1, 5000000);
  measure_ring("queue_int_batch", 8, 100, 20000000);
  return 0;
}
