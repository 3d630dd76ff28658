/* sched.c - first come, first served, by slots, pages and rows.
 *
 *   waiting  ring of entries in order of arrival
 *   running  array in order of admission
 *
 * An entry knows how many of its positions are in the cache (n_done) and how many tokens it has
 * (n_total): a decode row is the case n_total - n_done == 1 past the prompt. Removal keeps the
 * order, by moving what follows: the arrays are short.
 */
#include "sched/sched.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

typedef struct entry {
    sched_id id;
    kv_seq seq;
    const kv_unit *units; /* borrowed; NULL = shares nothing */
    uint32_t n_prompt, n_max;
    uint32_t n_done, n_total;
    kv_prefix prefix; /* found in the cache; n_tokens are of n_done */
    bool is_parked;   /* waits for another to run the pages that both begin with */
} entry;

struct sched {
    sched_config config;
    entry *waiting; /* [queue_max], the oldest first */
    uint32_t n_waiting;
    entry *running; /* [seqs_max], the oldest first */
    uint32_t n_running;
    sched_item *items; /* [seqs_max] of the planned step */
    sched_step step;
};

weft_status sched_create(sched **out, const sched_config *config, weft_error *err) {
    if (config->seqs_max == 0 || config->queue_max == 0 ||
        config->batch_rows_max < config->seqs_max) {
        return weft_fail(err, WEFT_INVALID,
                         "scheduler of %u sequences, %u waiting, %u rows: wanted at least one of "
                         "each and a row for every sequence",
                         config->seqs_max, config->queue_max, config->batch_rows_max);
    }
    sched *s = mem_zalloc(MEM_SCHED, 1, sizeof *s);
    if (s != NULL) {
        s->config = *config;
        s->waiting = mem_zalloc(MEM_SCHED, config->queue_max, sizeof *s->waiting);
        s->running = mem_zalloc(MEM_SCHED, config->seqs_max, sizeof *s->running);
        s->items = mem_zalloc(MEM_SCHED, config->seqs_max, sizeof *s->items);
    }
    if (s == NULL || s->waiting == NULL || s->running == NULL || s->items == NULL) {
        sched_destroy(&s);
        return weft_fail(err, WEFT_NOMEM, "out of memory for a queue of %u requests",
                         config->queue_max);
    }
    *out = s;
    return WEFT_OK;
}

void sched_destroy(sched **s) {
    if (*s != NULL) {
        mem_free((*s)->waiting);
        mem_free((*s)->running);
        mem_free((*s)->items);
        mem_free(*s);
        *s = NULL;
    }
}

bool sched_try_submit(sched *s, sched_id id, const kv_unit *units, uint32_t n_prompt,
                      uint32_t n_max) {
    WEFT_ASSERT(n_prompt >= 1);
    WEFT_ASSERT(n_max >= n_prompt);
    if (s->n_waiting == s->config.queue_max) {
        return false;
    }
    s->waiting[s->n_waiting++] = (entry){.id = id,
                                         .seq = KV_SEQ_NONE,
                                         .units = units,
                                         .n_prompt = n_prompt,
                                         .n_max = n_max,
                                         .n_total = n_prompt};
    return true;
}

static void remove_entry(entry *entries, uint32_t *n, uint32_t i) {
    memmove(&entries[i], &entries[i + 1], (*n - i - 1) * sizeof *entries);
    (*n)--;
}

/* Opens the entry's sequence on what the cache has of its prompt. */
static bool try_open(entry *e, kv_seqs *kv) {
    e->prefix = e->units != NULL ? kv_seqs_explain(kv, e->units, e->n_prompt) : (kv_prefix){0};
    e->seq = kv_seq_try_open_prompt(kv, e->units, e->units != NULL ? e->n_prompt : 0, e->n_max);
    if (e->seq == KV_SEQ_NONE) {
        return false;
    }
    e->n_done = kv_seq_tokens(kv, e->seq);
    if (e->prefix.n_tokens != e->n_done) { /* a shared window that did not fit, or made room */
        e->prefix = (kv_prefix){e->n_done, e->n_done, KV_MISS_EVICTED};
    }
    return true;
}

static void admit(sched *s, kv_seqs *kv) {
    while (s->n_waiting > 0 && s->n_running < s->config.seqs_max) {
        entry e = s->waiting[0];
        if (!try_open(&e, kv)) {
            return;
        }
        s->running[s->n_running++] = e;
        remove_entry(s->waiting, &s->n_waiting, 0);
    }
}

static bool is_decoding(const entry *e) { return e->n_done >= e->n_prompt; }

/* Positions, in whole pages, that two prompts begin with alike and the second would not run. */
static uint32_t common_prefix(const entry *a, const entry *b) {
    const uint32_t n = (a->n_prompt < b->n_prompt ? a->n_prompt : b->n_prompt - 1);
    uint32_t i = 0;
    while (i < n && a->units[i] == b->units[i]) {
        i++;
    }
    return i / PAGE_TOKENS * PAGE_TOKENS;
}

/* Whether an older request is about to run pages that this one could share. */
static bool must_wait(const sched *s, uint32_t i) {
    const entry *e = &s->running[i];
    for (uint32_t j = 0; j < i && e->units != NULL; j++) {
        const entry *older = &s->running[j];
        if (older->units != NULL && !is_decoding(older) && older->n_done < e->n_prompt) {
            const uint32_t common = common_prefix(older, e);
            if (common > e->n_done && common > older->n_done) {
                return true;
            }
        }
    }
    return false;
}

/* True when a prompt that has run nothing of its own yet stays parked. Once the others are
 * through it is opened again, on what they published: what it held fits again, so that cannot
 * fail. */
static bool stays_parked(sched *s, kv_seqs *kv, uint32_t i) {
    entry *e = &s->running[i];
    if (e->n_done > e->prefix.n_tokens) {
        return false;
    }
    const bool was_parked = e->is_parked;
    e->is_parked = must_wait(s, i);
    if (was_parked && !e->is_parked) {
        kv_seq_close(kv, e->seq);
        const bool is_open = try_open(e, kv);
        WEFT_ASSERT(is_open);
    }
    return e->is_parked;
}

static void plan_item(sched *s, kv_seqs *kv, const entry *e, uint32_t n_rows) {
    WEFT_ASSERT(e->n_done + n_rows <= e->n_max);
    kv_seq_grow(kv, e->seq, e->n_done, e->n_done + n_rows);
    const sched_item item = {.id = e->id,
                             .seq = e->seq,
                             .from = e->n_done,
                             .n_rows = n_rows,
                             .prefix = e->prefix,
                             .is_sampled = e->n_done + n_rows == e->n_total};
    s->items[s->step.n_items++] = item;
    s->step.n_rows += n_rows;
    s->step.n_sampled += item.is_sampled;
}

sched_step sched_next(sched *s, kv_seqs *kv) {
    admit(s, kv);
    s->step = (sched_step){.items = s->items};
    for (uint32_t i = 0; i < s->n_running; i++) {
        if (is_decoding(&s->running[i])) {
            plan_item(s, kv, &s->running[i], 1);
        }
    }
    for (uint32_t i = 0; i < s->n_running; i++) {
        const entry *e = &s->running[i];
        const uint32_t room = s->config.batch_rows_max - s->step.n_rows;
        if (room == 0) {
            break;
        }
        if (!is_decoding(e) && !stays_parked(s, kv, i)) {
            const uint32_t left = e->n_prompt - e->n_done;
            plan_item(s, kv, e, left < room ? left : room);
        }
    }
    return s->step;
}

static entry *find_running(sched *s, sched_id id, uint32_t *index) {
    for (uint32_t i = 0; i < s->n_running; i++) {
        if (s->running[i].id == id) {
            *index = i;
            return &s->running[i];
        }
    }
    return NULL;
}

void sched_advance(sched *s, kv_seqs *kv) {
    uint32_t index = 0;
    for (uint32_t i = 0; i < s->step.n_items; i++) {
        const sched_item *item = &s->items[i];
        entry *e = find_running(s, item->id, &index);
        WEFT_ASSERT(e != NULL);
        e->n_done += item->n_rows;
        if (e->units != NULL) {
            kv_seq_publish(kv, e->seq, e->units, e->n_done);
        }
        e->n_total += item->is_sampled;
    }
    s->step = (sched_step){.items = s->items};
}

bool sched_finish(sched *s, kv_seqs *kv, sched_id id) {
    uint32_t index = 0;
    const entry *e = find_running(s, id, &index);
    if (e != NULL) {
        kv_seq_close(kv, e->seq);
        remove_entry(s->running, &s->n_running, index);
        return true;
    }
    for (uint32_t i = 0; i < s->n_waiting; i++) {
        if (s->waiting[i].id == id) {
            remove_entry(s->waiting, &s->n_waiting, i);
            return true;
        }
    }
    return false;
}

uint32_t sched_waiting(const sched *s) { return s->n_waiting; }

uint32_t sched_running(const sched *s) { return s->n_running; }

void sched_check(const sched *s, const kv_seqs *kv) {
    WEFT_ASSERT(s->n_waiting <= s->config.queue_max);
    WEFT_ASSERT(s->n_running <= s->config.seqs_max);
    WEFT_ASSERT(s->n_running == kv_seqs_open_count(kv));
    for (uint32_t i = 0; i < s->n_running; i++) {
        const entry *e = &s->running[i];
        WEFT_ASSERT(e->n_done <= e->n_max);
        WEFT_ASSERT(e->n_total >= e->n_prompt);
        WEFT_ASSERT(e->n_done <= e->n_total);
        WEFT_ASSERT(kv_seq_tokens(kv, e->seq) >= e->n_done);
    }
    for (uint32_t i = 0; i < s->n_waiting; i++) {
        WEFT_ASSERT(s->waiting[i].seq == KV_SEQ_NONE);
    }
}
