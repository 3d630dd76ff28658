/* kcheck_memory.c - memory that notices a kernel writing, or reading, where it should not.
 *
 *   unmapped page |  guard (poison)  |  data  |  guard (poison)  | unmapped page
 *
 * In the flush pass the data end where the unmapped page begins, so that reading one element too
 * many is a signal. In the other pass the data start at an address that is a multiple of the
 * promised alignment and of no more. Before each run outputs and guards are filled with that
 * run's poison byte; afterwards the guards must hold it still.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "kcheck_impl.h"

#define GUARD_BYTES 512u

static const uint8_t poisons[2] = {0xA5, 0x5C};

static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

static kc_buffer *make_buffer(kcheck *kc, kc_role role, size_t bytes, size_t align) {
    WEFT_ASSERT(kc->is_open);
    WEFT_ASSERT(kc->n_buffers < KC_BUFFERS_MAX);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    kc_buffer *b = &kc->buffers[kc->n_buffers++];
    *b = (kc_buffer){.role = role, .bytes = bytes};
    b->room_bytes = round_up(bytes + 2 * GUARD_BYTES + align, page);
    b->map_bytes = b->room_bytes + 2 * page;
    b->map = mmap(NULL, b->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WEFT_ASSERT(b->map != MAP_FAILED);
    b->room = b->map + page;
    WEFT_ASSERT(mprotect(b->room, b->room_bytes, PROT_READ | PROT_WRITE) == 0);
    if (kc->is_flush) {
        b->data = b->room + (b->room_bytes - bytes) / align * align;
    } else {
        b->data = b->room + round_up(GUARD_BYTES, 2 * align) - align;
    }
#ifdef MADV_HUGEPAGE
    if (kc->is_bench) {
        madvise(b->room, b->room_bytes, MADV_HUGEPAGE); /* as weights lie in */
    }
#endif
    memset(b->room, poisons[0], b->room_bytes);
    b->n_rows = 1;
    b->row_bytes = b->stride_bytes = bytes;
    return b;
}

void *kc_in(kcheck *kc, size_t bytes, size_t align) {
    return make_buffer(kc, KC_ROLE_IN, bytes, align)->data;
}

void *kc_out(kcheck *kc, size_t bytes, size_t align) {
    return make_buffer(kc, KC_ROLE_OUT, bytes, align)->data;
}

void *kc_out_rows(kcheck *kc, size_t n_rows, size_t row_bytes, size_t stride_bytes, size_t align) {
    const size_t bytes = n_rows > 0 ? (n_rows - 1) * stride_bytes + row_bytes : 0;
    kc_buffer *b = make_buffer(kc, KC_ROLE_OUT, bytes, align);
    b->n_rows = n_rows;
    b->row_bytes = row_bytes;
    b->stride_bytes = stride_bytes;
    return b->data;
}

void *kc_inout(kcheck *kc, size_t bytes, size_t align) {
    return make_buffer(kc, KC_ROLE_INOUT, bytes, align)->data;
}

void *kc_scratch(kcheck *kc, size_t bytes) {
    WEFT_ASSERT(kc->n_scratch < KC_BUFFERS_MAX);
    void *p = mem_zalloc(MEM_TEST, 1, bytes);
    WEFT_ASSERT(p != NULL);
    kc->scratch[kc->n_scratch++] = p;
    return p;
}

void kc_memory_end_case(kcheck *kc) {
    for (size_t i = 0; i < kc->n_buffers; i++) {
        mem_free(kc->buffers[i].before);
        mem_free(kc->buffers[i].first);
        munmap(kc->buffers[i].map, kc->buffers[i].map_bytes);
    }
    for (size_t i = 0; i < kc->n_scratch; i++) {
        mem_free(kc->scratch[i]);
    }
    kc->n_buffers = 0;
    kc->n_scratch = 0;
}

static void keep_copy(uint8_t **copy, const uint8_t *data, size_t bytes) {
    if (*copy == NULL) {
        *copy = mem_alloc(MEM_TEST, bytes);
        WEFT_ASSERT(*copy != NULL);
    }
    memcpy(*copy, data, bytes);
}

void kc_memory_before_run(kcheck *kc) {
    for (size_t i = 0; i < kc->n_buffers; i++) {
        kc_buffer *b = &kc->buffers[i];
        if (b->role == KC_ROLE_OUT) {
            memset(b->room, poisons[kc->run], b->room_bytes);
            continue;
        }
        if (kc->run == 0) {
            keep_copy(&b->before, b->data, b->bytes);
        } else if (b->role == KC_ROLE_INOUT) {
            memcpy(b->data, b->before, b->bytes);
        }
        memset(b->room, poisons[kc->run], (size_t)(b->data - b->room));
        memset(b->data + b->bytes, poisons[kc->run],
               (size_t)(b->room + b->room_bytes - b->data) - b->bytes);
    }
}

static bool holds(const uint8_t *p, size_t n, uint8_t poison) {
    return n == 0 || (p[0] == poison && memcmp(p, p + 1, n - 1) == 0);
}

static void look_at_guards(kcheck *kc, const kc_buffer *b, size_t number) {
    const uint8_t poison = poisons[kc->run];
    const uint8_t *end = b->data + b->bytes;
    if (!holds(b->room, (size_t)(b->data - b->room), poison)) {
        kc_fail(kc, "wrote before buffer %zu", number);
    }
    if (!holds(end, (size_t)(b->room + b->room_bytes - end), poison)) {
        kc_fail(kc, "wrote past the end of buffer %zu", number);
    }
    for (size_t r = 0; r + 1 < b->n_rows; r++) {
        if (!holds(b->data + r * b->stride_bytes + b->row_bytes, b->stride_bytes - b->row_bytes,
                   poison)) {
            kc_fail(kc, "wrote between rows %zu and %zu of buffer %zu", r, r + 1, number);
        }
    }
}

/* The second run against the first: same bits, or the byte was left as poisoned. */
static void look_at_outputs(kcheck *kc, const kc_buffer *b, size_t number) {
    for (size_t r = 0; r < b->n_rows; r++) {
        const uint8_t *now = b->data + r * b->stride_bytes;
        const uint8_t *then = b->first + r * b->stride_bytes;
        if (memcmp(now, then, b->row_bytes) == 0) {
            continue;
        }
        size_t at = 0;
        while (now[at] == then[at]) {
            at++;
        }
        const bool is_poison = then[at] == poisons[0] && now[at] == poisons[1];
        kc_fail(kc, "byte %zu of row %zu of buffer %zu %s", at, r, number,
                is_poison ? "was not written" : "differs from one call to the next");
        return;
    }
}

void kc_memory_after_run(kcheck *kc) {
    for (size_t i = 0; i < kc->n_buffers; i++) {
        kc_buffer *b = &kc->buffers[i];
        look_at_guards(kc, b, i);
        if (b->role == KC_ROLE_IN) {
            if (b->bytes > 0 && memcmp(b->data, b->before, b->bytes) != 0) {
                kc_fail(kc, "changed its input, buffer %zu", i);
            }
        } else if (kc->run == 0) {
            keep_copy(&b->first, b->data, b->bytes);
        } else {
            look_at_outputs(kc, b, i);
        }
    }
}
