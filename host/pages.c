/* pages.c - see pages.h.
   SPDX-License-Identifier: MIT */
#include "pages.h"

#include <link.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>

#define PAGE UINT64_C(4096)
#define RANGES 8
#define STACK_BELOW (2 * PAGE) /* of the frame at hand */
#define STACK_ABOVE (1 * PAGE)

struct range {
  uintptr_t from, size;
  int advice;
};

static struct range ranges[RANGES];
static unsigned count;

/* Adds what is mapped of a segment, in whole pages. */
static void add(uintptr_t from, uintptr_t size, int advice)
{
  uintptr_t start = from / PAGE * PAGE;
  uintptr_t end = (from + size + PAGE - 1) / PAGE * PAGE;
  if (count < RANGES)
    ranges[count++] = (struct range){start, end - start, advice};
}

static int holds(const struct dl_phdr_info *object, const void *address)
{
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    uintptr_t from = object->dlpi_addr + segment->p_vaddr;
    if (segment->p_type == PT_LOAD && (uintptr_t)address >= from &&
        (uintptr_t)address < from + segment->p_memsz)
      return 1;
  }
  return 0;
}

/* Where the data begins that is not made read-only once it is relocated. */
static uintptr_t find_writable(const struct dl_phdr_info *object)
{
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    if (segment->p_type == PT_GNU_RELRO)
      return object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
  }
  return 0;
}

/* The text of an object is read, its data written. */
static int visit(struct dl_phdr_info *object, size_t size, void *context)
{
  (void)size;
  (void)context;
  if (!holds(object, ranges) && !holds(object, stdout)) return 0;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD) continue;
    uintptr_t from = object->dlpi_addr + segment->p_vaddr;
    uintptr_t end = from + segment->p_memsz, data = find_writable(object);
    if (segment->p_flags & PF_X)
      add(from, end - from, MADV_POPULATE_READ);
    else if (segment->p_flags & PF_W && data < end)
      add(data > from ? data : from, end - (data > from ? data : from),
          MADV_POPULATE_WRITE);
  }
  return 0;
}

void pages_note(void)
{
  if (count == 0) dl_iterate_phdr(visit, NULL);
}

void pages_ready(void)
{
  uintptr_t frame = (uintptr_t)__builtin_frame_address(0) / PAGE * PAGE;
  madvise((void *)(frame - STACK_BELOW), STACK_BELOW + STACK_ABOVE + PAGE,
          MADV_POPULATE_WRITE);
  for (unsigned i = 0; i < count; i++)
    madvise((void *)ranges[i].from, ranges[i].size, ranges[i].advice);
}
