/* bits.c - one model, many batchings, the same bits: prints a line a check, exits 1 when one fails.
 *
 *   bits MODEL.gguf [POSITIONS]
 *
 * The checks are those of tests/unit/test_executor.c (bits_checks.h says what they do), at the size
 * of real models: POSITIONS (700) is beyond Gemma 3's window of 512. Only the processor's best level
 * runs here; tiny models run at all of them there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "bits_checks.h"

#define POSITIONS_DEFAULT 700u
#define POSITIONS_MAX 4096u
#define TAIL 64u

static bool report(const char *what, uint32_t n_equal, uint32_t n) {
    printf("%-4s %s: %u of %u rows have the same bits\n", n_equal == n ? "ok" : "FAIL", what,
           n_equal, n);
    fflush(stdout);
    return n_equal == n;
}

static bool open_rig(bits_rig *rig, const char *path, uint32_t n_threads, uint32_t n) {
    weft_error err;
    const bits_config config = {.path = path,
                                .n_threads = n_threads,
                                .cpu_flags = CPU_FLAGS_ALL,
                                .request = {.ctx = n + 16,
                                            .seqs = 3,
                                            .batch_rows = n,
                                            .out_rows = TAIL,
                                            .kv_type = WEFT_DTYPE_F16}};
    if (bits_rig_open(rig, &config, &err) != WEFT_OK) {
        fprintf(stderr, "bits: %s\n", err.message);
        return false;
    }
    return true;
}

static bool check(const char *path, uint32_t n) {
    static uint64_t whole[TAIL], rows[TAIL];
    bits_rig rig;
    if (!open_rig(&rig, path, 2, n)) {
        return false;
    }
    bool is_good = report("three sequences in one forward", bits_together(&rig, n - 7, n - 3),
                          BITS_TOGETHER_ROWS);
    bits_prefill(&rig, n, n, TAIL, whole);
    bits_prefill(&rig, n, 7, TAIL, rows);
    is_good &= report("chunks of 7 against all at once", bits_equal(whole, rows, TAIL), TAIL);
    bits_prefill(&rig, n, 1, TAIL, rows);
    is_good &= report("token by token against all at once", bits_equal(whole, rows, TAIL), TAIL);
    bits_rig_close(&rig);
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        if (!open_rig(&rig, path, n_threads, n)) {
            return false;
        }
        printf("with %u instead of 2 threads:\n", n_threads);
        bits_prefill(&rig, n, n, TAIL, rows);
        is_good &= report("all at once", bits_equal(whole, rows, TAIL), TAIL);
        bits_prefill(&rig, n, 7, TAIL, rows);
        is_good &= report("chunks of 7", bits_equal(whole, rows, TAIL), TAIL);
        bits_rig_close(&rig);
    }
    return is_good;
}

int main(int argc, char **argv) {
    const unsigned long n = argc == 3 ? strtoul(argv[2], NULL, 10) : POSITIONS_DEFAULT;
    if (argc < 2 || argc > 3 || n < TAIL || n > POSITIONS_MAX) {
        fprintf(stderr, "usage: bits MODEL.gguf [POSITIONS from %u to %u]\n", TAIL, POSITIONS_MAX);
        return 2;
    }
    return check(argv[1], (uint32_t)n) ? 0 : 1;
}
