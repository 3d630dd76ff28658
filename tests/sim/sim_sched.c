/* sim_sched.c - scheduler and page tables under a million steps of random traffic.
 *
 *   sim_sched [--steps N] [--seed S]
 *
 * There is no model: "running" a row writes a hash of all units up to its position into a fake
 * cache, once for every KV group, at the place that the block table names. Then attention is
 * imitated: every row looks at each page its window reaches and must find the hashes of its own
 * beginning there, and nothing else's. A page given out twice, dropped too early, shared wrongly or
 * written by a stranger is seen at once. Prompts begin alike often, so that pages are shared.
 *
 * Time is counted in steps. Checked at every step:
 *   - the books of kv and sched (kv_seqs_check, sched_check);
 *   - rows within the budget, decode rows before prompt rows, no request twice in a step;
 *   - a request's rows are contiguous and each position runs exactly once, but for the cached ones;
 *   - requests are admitted in the order they came, so the oldest waiting one is always next;
 * and in the end that every request was finished or cancelled and every page came back.
 *
 * Worlds (slots, queue, budget, groups, windows, lengths) are drawn anew every WORLD_STEPS.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sched/sched.h"

#define WORLD_STEPS 5000u
#define CTX_MAX 320u
#define SEQS_MAX 12u
#define LIVE_MAX 64u
#define PAGES_MAX 1024u

typedef struct request {
    sched_id id; /* ascending by arrival; 0 = free */
    uint32_t n_prompt, n_max, n_run;
    kv_unit units[CTX_MAX];
    uint64_t hashes[CTX_MAX]; /* of units 0 to i */
} request;

typedef struct world {
    kv_config kv_config;
    sched_config sched_config;
    kv_seqs *kv;
    sched *sched;
    request live[LIVE_MAX];
    sched_id id_next; /* of the next to come */
    uint32_t length_max, arrivals_percent, cancels_permille;
    uint32_t n_beginnings, shares_percent;
} world;

typedef struct tally {
    uint64_t n_steps, n_idle, n_rows, n_arrived, n_finished, n_cancelled, n_refused, n_cells,
        n_cached;
} tally;

static uint64_t cells[KV_GROUPS_MAX][PAGES_MAX][PAGE_TOKENS];
static uint64_t random_state;
static tally total;

static uint32_t random_below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static uint32_t random_between(uint32_t low, uint32_t high) {
    return low + random_below(high - low + 1);
}

/* ---- a world ---- */

static void draw_config(world *w) {
    kv_config *c = &w->kv_config;
    w->sched_config = (sched_config){.seqs_max = random_between(1, SEQS_MAX),
                                     .queue_max = random_between(1, LIVE_MAX - SEQS_MAX)};
    w->sched_config.batch_rows_max = w->sched_config.seqs_max + random_below(100);
    c->n_groups = random_between(1, 3);
    c->seqs_max = w->sched_config.seqs_max;
    c->ctx_max = random_between(40, CTX_MAX);
    c->chunk_max = w->sched_config.batch_rows_max;
    for (uint32_t g = 0; g < c->n_groups; g++) {
        const uint32_t window = random_below(2) == 0 ? 0 : random_between(1, 100);
        const uint32_t one = page_count_group(window, c->ctx_max, c->chunk_max);
        const uint32_t most = one * c->seqs_max;
        c->groups[g] = (kv_group_config){.n_pages = random_between(one, most), .window = window};
        WEFT_ASSERT(c->groups[g].n_pages <= PAGES_MAX);
    }
    w->length_max = random_between(2, c->ctx_max);
    w->arrivals_percent = random_between(1, 60);
    w->n_beginnings = random_between(1, 6);
    w->shares_percent = random_below(101);
    w->cancels_permille = random_below(3) * random_below(20);
}

static void world_init(world *w) {
    weft_error err;
    *w = (world){.id_next = 1};
    draw_config(w);
    const weft_status kv_status = kv_seqs_create(&w->kv, &w->kv_config, &err);
    WEFT_ASSERT(kv_status == WEFT_OK);
    const weft_status sched_status = sched_create(&w->sched, &w->sched_config, &err);
    WEFT_ASSERT(sched_status == WEFT_OK);
    kv_seqs_shuffle(w->kv, random_state);
    memset(cells, 0, sizeof cells);
}

static void world_deinit(world *w) {
    WEFT_ASSERT(sched_running(w->sched) == 0);
    WEFT_ASSERT(sched_waiting(w->sched) == 0);
    kv_seqs_forget(w->kv);
    WEFT_ASSERT(kv_tree_count(kv_seqs_tree(w->kv)) == 0);
    for (uint32_t g = 0; g < w->kv_config.n_groups; g++) {
        const kv_pool *pool = kv_seqs_pool(w->kv, g);
        WEFT_ASSERT(kv_pool_available(pool) == kv_pool_count(pool));
    }
    sched_destroy(&w->sched);
    kv_seqs_destroy(&w->kv);
}

static request *find_request(world *w, sched_id id) {
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        if (w->live[i].id == id) {
            return &w->live[i];
        }
    }
    return NULL;
}

/* ---- traffic ---- */

static uint64_t hash_units(uint64_t before, kv_unit unit) {
    return (before ^ (unit + 1)) * 0x9E3779B97F4A7C15u ^ (before >> 29);
}

/* Units from `from` on: those of a beginning that many have, then the request's own. */
static void draw_units(const world *w, request *r) {
    const bool shares = random_below(100) < w->shares_percent;
    const uint32_t n_shared = shares ? random_below(CTX_MAX) : 0;
    const kv_unit beginning = 1000 * random_between(1, w->n_beginnings);
    for (uint32_t i = 0; i < CTX_MAX; i++) {
        r->units[i] = i < n_shared ? beginning + i : r->id * 1000000 + i;
        r->hashes[i] = hash_units(i == 0 ? 0 : r->hashes[i - 1], r->units[i]);
    }
}

static void arrive(world *w) {
    request *r = find_request(w, 0);
    WEFT_ASSERT(r != NULL); /* queue and slots together are fewer than LIVE_MAX */
    const uint32_t n_max = random_between(1, w->length_max);
    const uint32_t n_prompt = random_below(3) == 0 ? n_max : random_between(1, n_max);
    const bool has_room = sched_waiting(w->sched) < w->sched_config.queue_max;
    const bool is_queued = sched_try_submit(
        w->sched, w->id_next, random_below(8) == 0 ? NULL : r->units, n_prompt, n_max);
    WEFT_ASSERT(is_queued == has_room);
    if (is_queued) {
        *r = (request){.id = w->id_next++, .n_prompt = n_prompt, .n_max = n_max};
        draw_units(w, r);
        total.n_arrived++;
    } else {
        total.n_refused++;
    }
}

static void end_request(world *w, request *r) {
    const bool was_known = sched_finish(w->sched, w->kv, r->id);
    WEFT_ASSERT(was_known);
    WEFT_ASSERT(!sched_finish(w->sched, w->kv, r->id));
    r->id = 0;
}

static void cancel_some(world *w) {
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        if (w->live[i].id != 0 && random_below(1000) < w->cancels_permille) {
            end_request(w, &w->live[i]);
            total.n_cancelled++;
        }
    }
}

/* ---- the fake model ---- */

static void write_rows(world *w, const sched_item *item) {
    const request *r = find_request(w, item->id);
    for (uint32_t g = 0; g < w->kv_config.n_groups; g++) {
        const kv_page *pages = kv_seq_pages(w->kv, item->seq, g);
        for (uint32_t p = item->from; p < item->from + item->n_rows; p++) {
            const kv_page page = pages[p / PAGE_TOKENS];
            WEFT_ASSERT(page < w->kv_config.groups[g].n_pages);
            cells[g][page][p % PAGE_TOKENS] = r->hashes[p];
        }
    }
}

/* All that the item's rows see: from what the first one's window reaches to the last row itself. */
static void read_rows(world *w, const sched_item *item) {
    const request *r = find_request(w, item->id);
    const uint32_t end = item->from + item->n_rows;
    for (uint32_t g = 0; g < w->kv_config.n_groups; g++) {
        const uint32_t window = w->kv_config.groups[g].window;
        const uint32_t begin = window != 0 && item->from + 1 > window ? item->from + 1 - window : 0;
        const kv_page *pages = kv_seq_pages(w->kv, item->seq, g);
        for (uint32_t p = begin; p < end; p++) {
            const kv_page page = pages[p / PAGE_TOKENS];
            WEFT_ASSERT(page < w->kv_config.groups[g].n_pages);
            WEFT_ASSERT(cells[g][page][p % PAGE_TOKENS] == r->hashes[p]);
        }
        total.n_cells += end - begin;
    }
}

static void check_item(world *w, const sched_item *item, bool *is_prefill_seen) {
    request *r = find_request(w, item->id);
    WEFT_ASSERT(r != NULL);
    WEFT_ASSERT(item->n_rows > 0);
    if (r->n_run == 0) {
        WEFT_ASSERT(item->prefix.n_tokens < r->n_prompt);
        r->n_run = item->prefix.n_tokens;
        total.n_cached += item->prefix.n_tokens;
    }
    WEFT_ASSERT(item->from == r->n_run); /* contiguous, and none twice */
    WEFT_ASSERT(item->from + item->n_rows <= r->n_max);
    const bool is_decode = item->from >= r->n_prompt;
    WEFT_ASSERT(!is_decode || item->n_rows == 1);
    WEFT_ASSERT(!is_decode || !*is_prefill_seen);
    WEFT_ASSERT(item->is_sampled == (item->from + item->n_rows >= r->n_prompt));
    *is_prefill_seen |= !is_decode;
    r->n_run += item->n_rows; /* a second item of the request would not be contiguous */
}

/* Nobody is admitted before one who came earlier and still waits: whoever is older than the youngest
 * one that ran is admitted too, though it may be parked. */
static void check_admissions(world *w) {
    uint32_t n_admitted = 0;
    sched_id youngest = 0;
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *r = &w->live[i];
        youngest = r->id != 0 && r->n_run > 0 && r->id > youngest ? r->id : youngest;
    }
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        n_admitted += w->live[i].id != 0 && w->live[i].id <= youngest;
    }
    WEFT_ASSERT(n_admitted <= sched_running(w->sched));
}

static void finish_some(world *w, const sched_item *items, uint32_t n_items) {
    for (uint32_t i = 0; i < n_items; i++) {
        request *r = find_request(w, items[i].id);
        /* the last position agreed, or an end token */
        if (items[i].is_sampled && (r->n_run == r->n_max || random_below(60) == 0)) {
            end_request(w, r);
            total.n_finished++;
        }
    }
}

static void run_step(world *w) {
    static sched_item items[SEQS_MAX];
    bool is_prefill_seen = false;
    const sched_step step = sched_next(w->sched, w->kv);
    WEFT_ASSERT(step.n_rows <= w->sched_config.batch_rows_max);
    WEFT_ASSERT(step.n_items <= w->sched_config.seqs_max);
    /* Something waits and nothing runs: then an empty cache must have admitted it. */
    WEFT_ASSERT(step.n_items > 0 || sched_running(w->sched) + sched_waiting(w->sched) == 0);
    uint32_t n_rows = 0, n_sampled = 0;
    for (uint32_t i = 0; i < step.n_items; i++) {
        check_item(w, &step.items[i], &is_prefill_seen);
        write_rows(w, &step.items[i]);
        n_rows += step.items[i].n_rows;
        n_sampled += step.items[i].is_sampled;
        items[i] = step.items[i];
    }
    WEFT_ASSERT(n_rows == step.n_rows);
    WEFT_ASSERT(n_sampled == step.n_sampled);
    for (uint32_t i = 0; i < step.n_items; i++) {
        read_rows(w, &step.items[i]); /* after all were written: nobody wrote into another's page */
    }
    check_admissions(w);
    sched_advance(w->sched, w->kv);
    finish_some(w, items, step.n_items);
    kv_seqs_check(w->kv);
    sched_check(w->sched, w->kv);
    total.n_rows += n_rows;
    total.n_idle += step.n_items == 0;
    total.n_steps++;
}

static void run_world(uint64_t n_steps) {
    static world w;
    world_init(&w);
    for (uint64_t i = 0; i < n_steps; i++) {
        while (random_below(100) < w.arrivals_percent) {
            arrive(&w);
        }
        cancel_some(&w);
        run_step(&w);
    }
    while (sched_running(w.sched) + sched_waiting(w.sched) > 0) {
        run_step(&w);
    }
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        WEFT_ASSERT(w.live[i].id == 0); /* every request came to an end */
    }
    world_deinit(&w);
}

static bool read_number(const char *text, uint64_t *out) {
    char *end = NULL;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0;
}

int main(int argc, char **argv) {
    uint64_t n_steps = 1000000, seed = 1;
    for (int i = 1; i < argc; i += 2) {
        uint64_t *out = strcmp(argv[i], "--steps") == 0  ? &n_steps
                        : strcmp(argv[i], "--seed") == 0 ? &seed
                                                         : NULL;
        if (out == NULL || i + 1 == argc || !read_number(argv[i + 1], out)) {
            fprintf(stderr, "usage: sim_sched [--steps N] [--seed S]\n");
            return 2;
        }
    }
    random_state = seed * 0x9E3779B97F4A7C15u + 1;
    printf("seed %" PRIu64 "\n", seed);
    fflush(stdout);
    while (total.n_steps < n_steps) {
        const uint64_t left = n_steps - total.n_steps;
        run_world(left < WORLD_STEPS ? left : WORLD_STEPS);
    }
    WEFT_ASSERT(total.n_finished + total.n_cancelled == total.n_arrived);
    printf("%" PRIu64 " steps, %" PRIu64 " idle, %" PRIu64 " rows, %" PRIu64
           " positions from the tree, %" PRIu64 " cache reads\n"
           "%" PRIu64 " requests: %" PRIu64 " finished, %" PRIu64 " cancelled; %" PRIu64
           " refused by a full queue\n",
           total.n_steps, total.n_idle, total.n_rows, total.n_cached, total.n_cells,
           total.n_arrived, total.n_finished, total.n_cancelled, total.n_refused);
    return 0;
}
