/* shares.c - a table of clients, searched from end to end: hardly longer than the queue.
 *
 * The floor never falls: it is the least served of those present, and when the last one goes, what
 * that one had. Who is away is remembered until the table is full; the least served is forgotten
 * first, since the floor will soon have passed it.
 */
#include "sched/shares.h"

#include "base/check.h"
#include "base/mem.h"

weft_status shares_init(shares *s, uint32_t n_requests_max, weft_error *err) {
    *s = (shares){.capacity = n_requests_max + SHARES_ABSENT_MAX};
    s->all = mem_zalloc(MEM_SCHED, s->capacity, sizeof *s->all);
    return s->all != NULL ? WEFT_OK
                          : weft_fail(err, WEFT_NOMEM, "out of memory for the shares of %u clients",
                                      s->capacity);
}

void shares_deinit(shares *s) {
    mem_free(s->all);
    *s = (shares){0};
}

static void raise_floor(shares *s) {
    double least = -1;
    for (uint32_t i = 0; i < s->count; i++) {
        const share *x = &s->all[i];
        if (x->n_present > 0 && (least < 0 || x->served < least)) {
            least = x->served;
        }
    }
    s->floor = least > s->floor ? least : s->floor;
}

/* The client's row, or one for it. */
static uint32_t find(shares *s, uint64_t client) {
    uint32_t forgotten = s->capacity;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->all[i].client == client) {
            return i;
        }
        if (s->all[i].n_present == 0 &&
            (forgotten == s->capacity || s->all[i].served < s->all[forgotten].served)) {
            forgotten = i;
        }
    }
    const uint32_t at = s->count < s->capacity ? s->count++ : forgotten;
    WEFT_ASSERT(at < s->capacity);
    s->all[at] = (share){.client = client};
    return at;
}

uint32_t shares_enter(shares *s, uint64_t client) {
    const uint32_t at = find(s, client);
    share *x = &s->all[at];
    if (x->n_present == 0) {
        raise_floor(s);
        x->served = x->served > s->floor ? x->served : s->floor;
    }
    x->n_present++;
    return at;
}

void shares_leave(shares *s, uint32_t at) {
    WEFT_ASSERT(s->all[at].n_present > 0);
    raise_floor(s); /* with this one: who comes next should not profit from its going */
    s->all[at].n_present--;
}

void shares_charge(shares *s, uint32_t at, double rows) {
    WEFT_ASSERT(s->all[at].n_present > 0);
    s->all[at].served += rows;
}

void shares_check(const shares *s) {
    WEFT_ASSERT(s->count <= s->capacity);
    for (uint32_t i = 0; i < s->count; i++) {
        WEFT_ASSERT(s->all[i].n_running <= s->all[i].n_present);
        WEFT_ASSERT(s->all[i].n_present == 0 || s->all[i].served >= 0);
        for (uint32_t j = 0; j < i; j++) {
            WEFT_ASSERT(s->all[i].client != s->all[j].client);
        }
    }
}
