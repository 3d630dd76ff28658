/* dist_loopback.c - all ranks in one process: a table that each puts its rows on.
 *
 *   put rows on the table ─► meet ─► add up everybody's rows ─► meet ─► next
 *
 * The second meeting keeps a fast rank from putting new rows where a slow one still reads. Every
 * rank adds for itself, in ascending rank order, and so finds the same bits. The table belongs to
 * all ranks; the last one to leave frees it.
 */
#include <pthread.h>
#include <string.h>

#include "base/barrier.h"
#include "base/check.h"
#include "base/mem.h"
#include "dist/dist.h"

typedef struct table {
    pthread_mutex_t lock;
    uint32_t n_ranks; /* guarded by lock */
    uint32_t size;
    barrier all; /* the ranks */
    size_t elements_max;
    float *rows; /* [size][elements_max] */
} table;

typedef struct dist_loopback {
    dist base;
    table *table;
} dist_loopback;

static void sum_rows(dist *d, float *x, size_t stride, uint32_t n_rows, uint32_t n_cols) {
    table *t = ((dist_loopback *)d)->table;
    WEFT_ASSERT((uint64_t)n_rows * n_cols <= t->elements_max);
    float *mine = t->rows + d->place.rank * t->elements_max;
    for (uint32_t r = 0; r < n_rows; r++) {
        memcpy(mine + (size_t)r * n_cols, x + r * stride, n_cols * sizeof(float));
    }
    barrier_meet(&t->all);
    for (uint32_t r = 0; r < n_rows; r++) {
        float *to = x + r * stride;
        memcpy(to, t->rows + (size_t)r * n_cols, n_cols * sizeof(float));
        for (uint32_t rank = 1; rank < t->size; rank++) {
            const float *from = t->rows + rank * t->elements_max + (size_t)r * n_cols;
            for (uint32_t i = 0; i < n_cols; i++) {
                to[i] += from[i];
            }
        }
    }
    barrier_meet(&t->all);
}

static void table_leave(table *t) {
    pthread_mutex_lock(&t->lock);
    const bool is_last = --t->n_ranks == 0;
    pthread_mutex_unlock(&t->lock);
    if (is_last) {
        pthread_mutex_destroy(&t->lock);
        barrier_deinit(&t->all);
        mem_free(t->rows);
        mem_free(t);
    }
}

static void destroy(dist *d) {
    dist_loopback *l = (dist_loopback *)d;
    table_leave(l->table);
    mem_free(l);
}

static const dist_ops loopback_ops = {.sum = sum_rows, .destroy = destroy};

static table *table_create(uint32_t size, size_t elements_max) {
    table *t = mem_zalloc(MEM_DIST, 1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    t->size = size;
    t->elements_max = elements_max;
    t->rows = elements_max <= SIZE_MAX / size
                  ? mem_array(MEM_DIST, size * elements_max, sizeof(float))
                  : NULL;
    if (t->rows == NULL) {
        mem_free(t);
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    barrier_init(&t->all, size);
    t->n_ranks = 1; /* the maker's own hold, until every rank is there */
    return t;
}

weft_status dist_loopback_create(dist **out, uint32_t size, size_t elements_max, weft_error *err) {
    if (size == 0 || size > SLICE_RANKS_MAX || elements_max == 0) {
        return weft_fail(err, WEFT_INVALID, "%u ranks that share %zu values, wanted 1 to %u ranks",
                         size, elements_max, SLICE_RANKS_MAX);
    }
    table *t = table_create(size, elements_max);
    bool is_whole = t != NULL;
    uint32_t n = 0;
    for (; n < size && is_whole; n++) {
        dist_loopback *l = mem_zalloc(MEM_DIST, 1, sizeof *l);
        is_whole = l != NULL;
        if (is_whole) {
            l->base = (dist){.ops = &loopback_ops, .place = {n, size}};
            l->table = t;
            t->n_ranks++;
            out[n] = &l->base;
        }
    }
    if (!is_whole) {
        for (uint32_t i = 0; i + 1 < n; i++) {
            dist_destroy(&out[i]);
        }
    }
    if (t != NULL) {
        table_leave(t);
    }
    return is_whole ? WEFT_OK : weft_fail(err, WEFT_NOMEM, "out of memory for %u ranks", size);
}
