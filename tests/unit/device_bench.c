/* device_bench.c - a device for tests, and its random values. */
#include "device_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "device/device_cpu.h"
#include "device/device_deferred.h"

uint64_t device_bench_state;

float device_bench_random(void) {
    device_bench_state = device_bench_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int64_t)(device_bench_state >> 40) - (1 << 23)) * 0x1.0p-23f;
}

device_bench device_bench_open_of(bool is_deferred, uint32_t n_threads, uint32_t flags,
                                  size_t workspace_bytes) {
    device_bench b = {0};
    weft_error err = {0};
    assert_int_equal(pool_create(&b.pool, n_threads, &err), WEFT_OK);
    assert_int_equal(is_deferred ? device_deferred_create(&b.dev, b.pool, &err)
                                 : device_cpu_create(&b.dev, b.pool, flags, &err),
                     WEFT_OK);
    assert_int_equal(device_scratch_init(&b.scratch, b.dev, 4 << 20, &err), WEFT_OK);
    assert_int_equal(device_reserve(b.dev, workspace_bytes, &err), WEFT_OK);
    return b;
}

device_bench device_bench_open(bool is_deferred, uint32_t n_threads, uint32_t flags) {
    return device_bench_open_of(is_deferred, n_threads, flags, act_workspace_bytes(400, 512, true));
}

void device_bench_close(device_bench *b) {
    device_scratch_deinit(&b->scratch);
    device_destroy(&b->dev);
    pool_destroy(&b->pool);
}

tensor device_bench_take(device_bench *b, uint32_t rows, uint32_t cols, float *host) {
    const tensor t = device_scratch_take(&b->scratch, WEFT_DTYPE_F32, rows, cols);
    for (size_t i = 0; i < (size_t)rows * cols; i++) {
        host[i] = device_bench_random();
    }
    device_write(b->dev, t, host);
    return t;
}

void device_bench_each(void (*check)(device_bench *b)) {
    device_bench b;
    device_bench_state = 1;
    b = device_bench_open(false, 1, CPU_FLAGS_ALL & cpu_flags_detect());
    check(&b);
    device_bench_close(&b);
    b = device_bench_open(false, 3, 0);
    check(&b);
    device_bench_close(&b);
    b = device_bench_open(true, 2, 0);
    check(&b);
    device_bench_close(&b);
}
