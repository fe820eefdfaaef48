/*
 * queue_record.c - the floor of a queue of records: messages of 64 bytes, about
 * what {id =, name =, v = {1, 2, 3}} takes when packed, from one process to
 * another through a ring behind robust mutexes. Nothing is encoded.
 * SPDX-License-Identifier: MIT
 */
#include "ring.h"

int main(void)
{
  measure_ring("queue_record", 64, 1, 5000000);
  measure_ring("queue_record_batch", 64, 100, 20000000);
  return 0;
}
