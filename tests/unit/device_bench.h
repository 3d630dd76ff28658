/* device_bench.h - a device with its threads, scratch and workspace, for tests, and random values. */
#ifndef WEFT_TESTS_UNIT_DEVICE_BENCH_H
#define WEFT_TESTS_UNIT_DEVICE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "device/device.h"

typedef struct device_bench {
    pool *pool;
    device *dev;
    device_scratch scratch;
} device_bench;

/* What random values go on from. */
extern uint64_t device_bench_state;

/* From -1 to 1. */
float device_bench_random(void);

/* Fails the test where it can't be had. The first one has room for 400 rows of 512 columns. */
device_bench device_bench_open(bool is_deferred, uint32_t n_threads, uint32_t flags);
device_bench device_bench_open_of(bool is_deferred, uint32_t n_threads, uint32_t flags,
                                  size_t workspace_bytes);
void device_bench_close(device_bench *b);

/* Random rows, in host too. */
tensor device_bench_take(device_bench *b, uint32_t rows, uint32_t cols, float *host);

/* check(a bench) for each kind of device. */
void device_bench_each(void (*check)(device_bench *b));

#endif /* WEFT_TESTS_UNIT_DEVICE_BENCH_H */
