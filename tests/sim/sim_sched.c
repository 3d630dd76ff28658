/* sim_sched.c - scheduler and page tables under a million steps of random traffic.
 *
 *   sim_sched [--steps N] [--seed S]
 *
 * There is no model: "running" a row writes a hash of all units up to its position into a fake
 * cache, once for every KV group, at the place that the block table names. Then attention is
 * imitated: every row looks at each page its window reaches and must find the hashes of its own
 * beginning there, and nothing else's. The token that a sampled row gives is made from what it
 * found. A page given out twice, dropped too early, shared wrongly or written by a stranger is seen
 * at once. Prompts begin alike often, and are equal now and then, so that pages are shared, those of
 * answers too.
 *
 * In half of the worlds pages are kept on a disk (sim_disk.h): what a prompt knows there comes back,
 * some pages a step, before the prompt is queued (one of which nothing is there is queued as it
 * arrives), and pages that were run are saved, both by src/engine/keep.c itself. Now and then the
 * process crashes, in the middle of either: requests, queue and cache are gone, the disk is what it
 * was, less what was not yet written.
 *
 * Time is virtual: a step takes what its rows cost, with noise. Checked at every step:
 *   - the books of kv and sched (kv_seqs_check, sched_check), and every page on the disk;
 *   - rows within the budget, decode rows before prompt rows, no request twice in a step;
 *   - a request's rows are contiguous from what the cache knew, each time it is admitted;
 *   - the senior, first by priority and arrival, never has to give way;
 *   - a class that waits has a turn within a bound, whatever else arrives;
 *   - beside running answers a step stays within its time, when it has more than the least rows;
 *   - nobody runs past a deadline, and whoever was cancelled is gone at once;
 *   - while two clients both have requests waiting, and there is one class, they are served alike
 *     within a bound;
 *   - of two clients who wait in one class, it is the turn of the one that has had less;
 *   - where there is one class, who recalls waits for the pages of those before it and no others;
 * and in the end that every answer is what its prompt gives alone, that what was left came to an end
 * within a bound, and that every page came back.
 *
 * Worlds (slots, queue, budget, groups, windows, lengths, clients) are drawn anew every WORLD_STEPS.
 */
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sched/pace.h"
#include "sched/sched.h"
#include "sim_disk.h"

#define WORLD_STEPS 5000u
#define CTX_MAX 320u
#define SEQS_MAX 12u
#define LIVE_MAX 64u
#define CLIENTS_MAX 5u
#define CLASSES_MAX 17u
#define DECODE_ROW_NS 100000u
#define PROMPT_ROW_NS 400000u
#define BUDGET_ERROR 1.75 /* of what pace.c knows from noisy steps */
#define RECALL_PAGES 3u   /* a step, as of RECALL_PAGES in engine_loop.c */

typedef struct request {
    sched_id id; /* ascending by arrival; 0 = free */
    uint32_t client;
    int32_t priority;
    uint64_t arrival_ns, deadline_ns;
    uint64_t order; /* in which it came to the scheduler */
    uint32_t n_prompt, n_max;
    uint32_t n_run;   /* positions in the cache, of this admission */
    uint32_t n_total; /* tokens known */
    uint32_t n_preempted;
    bool has_run, is_running, was_sampled;
    bool is_aged;              /* may count as a higher class, or be admitted as one */
    uint64_t queued_ns;        /* when it came to the scheduler */
    bool is_recalling;         /* not yet with the scheduler: it has pages to read */
    uint32_t recall_turns_max; /* until it has read them, and those before it theirs */
    bool is_shared;            /* the scheduler gets its units */
    bool has_turn;             /* admitted by this step, which runs some of it */
    bool may_have_paid;        /* for its prompt, and gave way before any of it was run */
    keep_walk walk;
    kv_unit units[CTX_MAX + 1];
    uint64_t hashes[CTX_MAX + 1]; /* of units 0 to i */
} request;

/* Of two clients since both began to have requests waiting without a break. */
typedef struct rivalry {
    bool is_on;
    double a, b; /* what each was served since */
} rivalry;

/* Of two clients since both are there. Who comes begins where others stand, so that what the
 * scheduler has written down for the two differs by an unknown number more than this, always the
 * same one: it has to explain every turn, of any class. */
typedef struct lead {
    double now;      /* what a was served since, less what b was */
    double a_turned; /* the most of it when it was a's turn, though b waited in the class as well */
    double b_turned; /* the least of it when it was b's, though a did */
} lead;

typedef struct world {
    kv_config kv_config;
    sched_config sched_config;
    kv_seqs *kv;
    sched *sched;
    request live[LIVE_MAX];
    sched_id id_next; /* of the next to come */
    uint64_t order_next;
    uint64_t now_ns;
    uint32_t length_max, arrivals_percent, cancels_permille;
    uint32_t n_beginnings, shares_percent;
    uint32_t n_clients, priorities, deadlines_percent;
    uint32_t highest_percent; /* of arrivals, surely of the highest class */
    bool has_disk;
    keep keep;
    uint32_t crashes_in; /* a crash after so many calls of the disk, drawn anew; 0 = never */
    uint64_t step_ns;    /* of one without rows */
    uint64_t class_turn_ns[CLASSES_MAX];
    bool is_tight; /* a sliding group's pool holds little more than one sequence */
    rivalry rivalries[CLIENTS_MAX][CLIENTS_MAX];
    lead leads[CLIENTS_MAX][CLIENTS_MAX]; /* [a][b], b < a */
    double served[CLIENTS_MAX];           /* by this step */
    uint32_t n_hidden;                    /* admitted, and the last step had no rows for them */
} world;

typedef struct tally {
    uint64_t n_steps, n_idle, n_rows, n_arrived, n_finished, n_cancelled, n_refused, n_cells,
        n_cached, n_preempted, n_expired, n_crashed, n_tokens;
    double rivalry_max, lead_max, wait_max, budget_max; /* as a share of the bound */
} tally;

static uint64_t cells[KV_GROUPS_MAX][SIM_PAGES_MAX][PAGE_TOKENS];
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
                                     .queue_max = random_between(1, LIVE_MAX - SEQS_MAX - 1)};
    w->sched_config.batch_rows_max = w->sched_config.seqs_max + random_below(100);
    w->sched_config.itl_target_ns = random_below(2) * random_between(1, 50) * 1000000;
    c->n_groups = random_between(1, 3);
    c->seqs_max = w->sched_config.seqs_max;
    c->ctx_max = random_between(40, CTX_MAX);
    c->chunk_max = w->sched_config.batch_rows_max;
    for (uint32_t g = 0; g < c->n_groups; g++) {
        const uint32_t window = random_below(2) == 0 ? 0 : random_between(1, 100);
        const uint32_t one = page_count_group(window, c->ctx_max, c->chunk_max);
        const uint32_t most = one * c->seqs_max;
        c->groups[g] = (kv_group_config){.n_pages = random_between(one, most), .window = window};
        WEFT_ASSERT(c->groups[g].n_pages <= SIM_PAGES_MAX);
        w->is_tight |= window != 0 && c->groups[g].n_pages < one + page_count(window) + 2;
    }
    w->length_max = random_between(2, c->ctx_max);
    w->arrivals_percent = random_between(1, 60);
    w->n_beginnings = random_between(1, 6);
    w->shares_percent = random_below(101);
    w->cancels_permille = random_below(3) * random_below(20);
    w->n_clients = random_between(1, CLIENTS_MAX);
    w->priorities = random_below(3) == 0 ? random_between(1, CLASSES_MAX) : 1;
    w->priorities =
        w->priorities > 1 && random_below(2) == 0 ? random_between(2, 3) : w->priorities;
    w->step_ns = 5000000;
    if (w->priorities > 1 && random_below(2) == 0) { /* so slow that classes starve, or age */
        w->step_ns *= 40;
        w->length_max = random_between(2, 40);
    }
    w->highest_percent = random_below(2) * random_between(50, 99);
    w->deadlines_percent = random_below(3) == 0 ? random_below(60) : 0;
    w->has_disk = random_below(2) == 0;
    w->crashes_in = w->has_disk && random_below(2) == 0 ? random_between(50, 5000) : 0;
}

static uint64_t hash_units(uint64_t before, kv_unit unit) {
    return (before ^ (unit + 1)) * 0x9E3779B97F4A7C15u ^ (before >> 29);
}

/* A process begins, with an empty cache. */
static void world_start(world *w) {
    weft_error err;
    const weft_status kv_status = kv_seqs_create(&w->kv, &w->kv_config, &err);
    WEFT_ASSERT(kv_status == WEFT_OK);
    const weft_status sched_status = sched_create(&w->sched, &w->sched_config, &err);
    WEFT_ASSERT(sched_status == WEFT_OK);
    kv_seqs_shuffle(w->kv, random_state);
    memset(cells, 0, sizeof cells);
    if (w->has_disk) {
        w->keep = sim_disk_start(w->kv, w->kv_config.n_groups, w->sched_config.batch_rows_max);
        sim_disk_crash_in(w->crashes_in > 0 ? 1 + random_below(w->crashes_in) : 0);
    }
}

static void world_stop(world *w) {
    if (w->has_disk) {
        sim_disk_stop(&w->keep);
    }
    sched_destroy(&w->sched);
    kv_seqs_destroy(&w->kv);
}

static void begin_leads(world *w, uint32_t client) {
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        const lead none = {.a_turned = -DBL_MAX, .b_turned = DBL_MAX};
        w->leads[client][i] = w->leads[i][client] = none;
    }
}

static void world_init(world *w) {
    *w = (world){.id_next = 1, .now_ns = random_below(1000000)};
    draw_config(w);
    sim_disk_format(random_between(1, 300), cells, hash_units, random_state);
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        begin_leads(w, i);
    }
    world_start(w);
}

static void world_deinit(world *w) {
    WEFT_ASSERT(sched_running(w->sched) == 0);
    WEFT_ASSERT(sched_waiting(w->sched) == 0);
    kv_seqs_forget(w->kv);
    WEFT_ASSERT(kv_tree_count(kv_seqs_tree(w->kv)) == 0);
    for (uint32_t g = 0; g < w->kv_config.n_groups; g++) {
        const kv_pool *pages = kv_seqs_pool(w->kv, g);
        WEFT_ASSERT(kv_pool_available(pages) == kv_pool_count(pages));
    }
    world_stop(w);
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

/* The token after a past with this hash: what the fake model says. */
static kv_unit unit_after(uint64_t hash) { return hash >> 40; }

static void set_unit(request *r, uint32_t i, kv_unit unit) {
    r->units[i] = unit;
    r->hashes[i] = hash_units(i == 0 ? 0 : r->hashes[i - 1], unit);
}

/* The units of a beginning that many have, then the request's own. */
static void draw_units(const world *w, request *r) {
    const bool shares = random_below(100) < w->shares_percent;
    const uint32_t n_shared = shares ? random_below(2 * CTX_MAX) : 0;
    const kv_unit beginning = 1000 * random_between(1, w->n_beginnings);
    for (uint32_t i = 0; i < r->n_prompt; i++) {
        set_unit(r, i, i < n_shared ? beginning + i : r->id * 1000000 + i);
    }
}

static uint32_t count_recalling(const world *w) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        n += w->live[i].id != 0 && w->live[i].is_recalling;
    }
    return n;
}

/* Hands a request to the scheduler, which must have a place for it. */
static void queue(world *w, request *r) {
    const sched_request rq = {.id = r->id,
                              .units = r->is_shared ? r->units : NULL,
                              .n_prompt = r->n_prompt,
                              .n_max = r->n_max,
                              .client = r->client,
                              .priority = r->priority,
                              .deadline_ns = r->deadline_ns};
    const bool is_queued = sched_try_submit(w->sched, &rq, w->now_ns);
    WEFT_ASSERT(is_queued);
    r->is_recalling = false;
    r->order = w->order_next++;
    r->queued_ns = w->now_ns;
}

/* As recall_pages and recall_rank in engine_loop.c. */
static bool recall_pages(world *w, request *r, uint32_t *n_pages) {
    return !w->has_disk || !r->is_shared ||
           keep_recall(&w->keep, &r->walk, r->units, r->n_prompt, n_pages);
}

static int64_t recall_rank(const request *r) {
    return (int64_t)r->arrival_ns - r->priority * (int64_t)SCHED_AGE_NS;
}

static request *first_to_recall(world *w) {
    request *first = NULL;
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        request *r = &w->live[i];
        if (r->id != 0 && r->is_recalling &&
            (first == NULL || recall_rank(r) < recall_rank(first) ||
             (recall_rank(r) == recall_rank(first) && r->id < first->id))) {
            first = r;
        }
    }
    return first;
}

static uint32_t pages_to_recall(const request *r) { return r->walk.n_recall - r->walk.n_pages; }

/* A newcomer waits for the pages of those before it and its own, and for nothing else: where there
 * is one class nobody gets in before it. */
static void await_recall(const world *w, request *r) {
    uint32_t n_pages = 0;
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *other = &w->live[i];
        n_pages += other->id != 0 && other->is_recalling ? pages_to_recall(other) : 0;
    }
    r->recall_turns_max = (n_pages + RECALL_PAGES - 1) / RECALL_PAGES;
}

static void recall_some(world *w) {
    uint32_t n_pages = RECALL_PAGES;
    request *r = first_to_recall(w);
    for (; r != NULL && recall_pages(w, r, &n_pages); r = first_to_recall(w)) {
        queue(w, r);
    }
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        r = &w->live[i];
        if (r->id != 0 && r->is_recalling && w->priorities == 1) {
            WEFT_ASSERT(r->recall_turns_max > 1);
            r->recall_turns_max--;
        }
    }
}

static void save_pages(world *w, const sched_item *items, uint32_t n_items) {
    for (uint32_t i = 0; i < n_items && w->has_disk; i++) {
        request *r = find_request(w, items[i].id);
        if (r->is_shared) {
            keep_save(&w->keep, &r->walk, items[i].seq, r->units, items[i].from + items[i].n_rows);
        }
    }
}

static int32_t draw_priority(const world *w) {
    const bool is_highest = random_below(100) < w->highest_percent;
    const uint32_t c = is_highest ? w->priorities - 1 : random_below(w->priorities);
    return (int32_t)c - (int32_t)(w->priorities / 2);
}

static void arrive(world *w) {
    request *r = find_request(w, 0);
    WEFT_ASSERT(r != NULL); /* queue and slots together are fewer than LIVE_MAX, always */
    const uint32_t n_max = random_between(1, w->length_max);
    const bool has_deadline = random_below(100) < w->deadlines_percent;
    const uint32_t places = w->sched_config.queue_max + w->sched_config.seqs_max;
    const uint32_t n_there = sched_waiting(w->sched) + sched_running(w->sched);
    request drawn = {.id = w->id_next,
                     .is_recalling = true,
                     .arrival_ns = w->now_ns,
                     .is_shared = random_below(8) != 0,
                     .n_prompt = random_below(3) == 0 ? n_max : random_between(1, n_max),
                     .n_max = n_max,
                     .client = random_below(w->n_clients),
                     .priority = draw_priority(w),
                     .deadline_ns =
                         has_deadline ? w->now_ns + random_below(2000) * 1000000ull + 1 : 0};
    if (n_there + count_recalling(w) == places) {
        const sched_request refused = {.id = drawn.id, .n_prompt = 1, .n_max = 1};
        WEFT_ASSERT(n_there < places || !sched_try_submit(w->sched, &refused, w->now_ns));
        total.n_refused++;
        return;
    }
    drawn.n_total = drawn.n_prompt;
    *r = drawn;
    w->id_next++;
    total.n_arrived++;
    draw_units(w, r);
    if (recall_pages(w, r, &(uint32_t){0})) {
        queue(w, r);
    } else {
        await_recall(w, r);
    }
}

/* A client of whom the scheduler has nothing, if only for a moment, begins anew. */
static void leave_rivalries(world *w, uint32_t client) {
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *r = &w->live[i];
        if (r->id != 0 && r->client == client && !r->is_recalling) {
            return;
        }
    }
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        w->rivalries[client][i].is_on = w->rivalries[i][client].is_on = false;
    }
    begin_leads(w, client);
}

static void end_request(world *w, request *r) {
    if (!r->is_recalling) {
        const bool was_known = sched_finish(w->sched, w->kv, r->id);
        WEFT_ASSERT(was_known);
    }
    WEFT_ASSERT(!sched_finish(w->sched, w->kv, r->id));
    r->id = 0;
    if (!r->is_recalling && !r->has_run && (r->may_have_paid || w->n_hidden > 0)) {
        begin_leads(w, r->client);
    }
    leave_rivalries(w, r->client);
}

static void expire_some(world *w) {
    sched_id id = 0;
    while (sched_try_expired(w->sched, w->now_ns, &id)) {
        request *r = find_request(w, id);
        WEFT_ASSERT(r != NULL);
        WEFT_ASSERT(r->deadline_ns != 0 && r->deadline_ns <= w->now_ns);
        end_request(w, r);
        total.n_expired++;
    }
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        request *r = &w->live[i];
        if (r->id != 0 && r->is_recalling && r->deadline_ns != 0 && r->deadline_ns <= w->now_ns) {
            end_request(w, r);
            total.n_expired++;
        }
    }
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

/* The next token, from what stands in the cache at the last row, by the last group's table. */
static void sample(world *w, const sched_item *item) {
    request *r = find_request(w, item->id);
    const uint32_t last = item->from + item->n_rows - 1, g = w->kv_config.n_groups - 1;
    const kv_page page = kv_seq_pages(w->kv, item->seq, g)[last / PAGE_TOKENS];
    set_unit(r, r->n_total++, unit_after(cells[g][page][last % PAGE_TOKENS]));
    total.n_tokens++;
}

/* The answer that the prompt gives without any of this. */
static void check_answer(const request *r) {
    for (uint32_t i = r->n_prompt; i < r->n_total; i++) {
        WEFT_ASSERT(r->units[i] == unit_after(r->hashes[i - 1]));
        WEFT_ASSERT(r->hashes[i] == hash_units(r->hashes[i - 1], r->units[i]));
    }
}

static uint32_t class_of(const world *w, const request *r) {
    return (uint32_t)(r->priority + (int32_t)(w->priorities / 2));
}

/* While both wait, neither may get ahead of the other by more than twice what the slots can hold. */
static void check_rivalries(world *w) {
    const double bound = 2.0 * w->sched_config.seqs_max * w->length_max * SCHED_DECODE_COST;
    bool waits[CLIENTS_MAX] = {false};
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *r = &w->live[i];
        waits[r->client] |= r->id != 0 && !r->is_running && !r->is_recalling;
    }
    for (uint32_t a = 0; a < w->n_clients; a++) {
        for (uint32_t b = 0; b < a; b++) {
            rivalry *v = &w->rivalries[a][b];
            v->a += w->served[a];
            v->b += w->served[b];
            if (!waits[a] || !waits[b] || !v->is_on) {
                *v = (rivalry){.is_on = waits[a] && waits[b]};
            }
            const double ahead = v->a > v->b ? v->a - v->b : v->b - v->a;
            WEFT_ASSERT(w->priorities > 1 || ahead <= bound);
            if (w->priorities == 1 && ahead / bound > total.rivalry_max) {
                total.rivalry_max = ahead / bound;
            }
        }
    }
}

/* Turns of this step in one class. A client waits there if it has more requests without rows than
 * could be admitted ones. */
static void note_turns(world *w, uint32_t class, uint32_t n_hidden) {
    uint32_t n_waiting[CLIENTS_MAX] = {0};
    bool has_turn[CLIENTS_MAX] = {false}, may_have_paid[CLIENTS_MAX] = {false};
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *r = &w->live[i];
        if (r->id != 0 && !r->is_recalling && class_of(w, r) == class) {
            n_waiting[r->client] += !r->is_running;
            has_turn[r->client] |= r->is_running && r->has_turn;
        }
        may_have_paid[r->client] |= r->id != 0 && r->may_have_paid;
    }
    for (uint32_t a = 0; a < w->n_clients; a++) {
        for (uint32_t b = 0; b < a && !may_have_paid[a]; b++) {
            lead *l = &w->leads[a][b];
            if (has_turn[a] && n_waiting[b] > n_hidden && !may_have_paid[b]) {
                l->a_turned = l->now > l->a_turned ? l->now : l->a_turned;
            }
            if (has_turn[b] && n_waiting[a] > n_hidden && !may_have_paid[b]) {
                l->b_turned = l->now < l->b_turned ? l->now : l->b_turned;
            }
        }
    }
}

/* Rule 6. A turn is known to be of this step if before it all that was admitted had rows; whoever
 * gives way may have come to wait after it. The bound is what those admitted just before in the same
 * step may have paid, on either side. */
static void check_leads(world *w, uint32_t n_hidden, uint32_t n_preempted) {
    const double bound = 2.0 * w->sched_config.seqs_max * w->length_max;
    for (uint32_t c = 0; c < w->priorities && w->n_hidden == 0 && n_preempted == 0; c++) {
        note_turns(w, c, n_hidden);
    }
    for (uint32_t a = 0; a < w->n_clients; a++) {
        for (uint32_t b = 0; b < a; b++) {
            lead *l = &w->leads[a][b];
            const double share = (l->a_turned - l->b_turned) / bound;
            WEFT_ASSERT(share <= 1);
            total.lead_max = share > total.lead_max ? share : total.lead_max;
            l->now += w->served[a] - w->served[b];
        }
    }
}

static void check_fairness(world *w, uint32_t n_items, uint32_t n_preempted) {
    const uint32_t n_hidden = sched_running(w->sched) - n_items;
    check_rivalries(w);
    check_leads(w, n_hidden, n_preempted);
    memset(w->served, 0, sizeof w->served);
    w->n_hidden = n_hidden;
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        request *r = &w->live[i];
        r->may_have_paid = !r->has_run && !r->is_recalling && (r->may_have_paid || n_preempted > 0);
    }
}

/* In which all that runs comes to an end, when nobody is admitted: prompts move by the least rows
 * there are for them in a step, and answers side by side. */
static uint64_t drain_ns(const world *w) {
    const sched_config *c = &w->sched_config;
    const uint64_t spare = c->batch_rows_max - c->seqs_max + 1;
    const uint64_t n_rows = (uint64_t)c->seqs_max * w->length_max;
    const uint64_t n_steps =
        w->length_max + n_rows / (spare < PACE_ROWS_MIN ? spare : PACE_ROWS_MIN);
    return (n_steps * w->step_ns + n_rows * (PROMPT_ROW_NS + DECODE_ROW_NS)) * 12 / 10;
}

/* Rule 5: after SCHED_AGE_NS for every class above it, and one more, a class goes before all that
 * have had a turn since, and each of the others goes before it once at most. Whoever's turn it is
 * waits until enough of what runs is through; once admitted, for the prompts admitted before. */
static void check_waits(const world *w) {
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *r = &w->live[i];
        if (r->id == 0 || r->is_recalling || r->is_running) {
            continue;
        }
        const uint32_t c = class_of(w, r);
        const uint64_t turn_ns = w->class_turn_ns[c];
        const uint64_t waited = w->now_ns - (turn_ns > r->queued_ns ? turn_ns : r->queued_ns);
        const uint64_t bound =
            (w->priorities - c) * SCHED_AGE_NS + (w->priorities + 2) * drain_ns(w);
        const double share = (double)waited / (double)bound;
        WEFT_ASSERT(share <= 1);
        total.wait_max = share > total.wait_max ? share : total.wait_max;
    }
}

/* Who waits for so long may have made its whole class count as a higher one. */
static bool note_aged(world *w) {
    bool is_aged[CLASSES_MAX] = {false}, any = false;
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *r = &w->live[i];
        if (r->id != 0 && !r->is_recalling && w->now_ns - r->queued_ns >= SCHED_AGE_NS) {
            is_aged[class_of(w, r)] = true;
        }
    }
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        request *r = &w->live[i];
        r->is_aged |= r->id != 0 && is_aged[class_of(w, r)];
        any |= r->id != 0 && r->is_aged;
    }
    return any;
}

static bool is_senior(const request *a, const request *b) {
    return a->priority > b->priority || (a->priority == b->priority && a->order < b->order);
}

/* Of all there are the most senior one, when it decoded a step ago, does so again.
 * (Where a window's pool has no room for a shared window beside a promise, it may have to let go of
 * what it shares.) */
static void check_senior(world *w, const sched_step *step) {
    const request *senior = NULL;
    bool has_row = false;
    if (w->priorities > 1 && note_aged(w)) {
        return; /* waiting may have made somebody senior to it */
    }
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        const request *r = &w->live[i];
        if (r->id != 0 && !r->is_recalling && (senior == NULL || is_senior(r, senior))) {
            senior = r;
        }
    }
    for (uint32_t i = 0; i < step->n_items && senior != NULL; i++) {
        has_row |= step->items[i].id == senior->id;
    }
    WEFT_ASSERT(senior == NULL || !senior->was_sampled || has_row || w->is_tight);
}

static void check_item(world *w, const sched_item *item) {
    request *r = find_request(w, item->id);
    WEFT_ASSERT(r != NULL);
    WEFT_ASSERT(item->n_rows > 0);
    WEFT_ASSERT(r->deadline_ns == 0 || r->deadline_ns > w->now_ns);
    const bool is_turn = !r->has_run || item->n_preempted != r->n_preempted;
    if (is_turn) { /* admitted, once more */
        WEFT_ASSERT(item->prefix.n_tokens < r->n_total);
        WEFT_ASSERT(item->prefix.miss_at >= item->prefix.n_tokens);
        if (r->has_run) {
            WEFT_ASSERT(item->n_preempted > r->n_preempted);
            total.n_preempted++;
        } else {
            w->served[r->client] += r->n_prompt - item->prefix.n_tokens;
        }
        r->n_run = item->prefix.n_tokens;
        r->n_preempted = item->n_preempted;
        r->has_run = true;
        total.n_cached += item->prefix.n_tokens;
    }
    WEFT_ASSERT(item->from == r->n_run); /* contiguous, and none twice */
    WEFT_ASSERT(item->from + item->n_rows <= r->n_max);
    WEFT_ASSERT(item->from + item->n_rows <= r->n_total);
    WEFT_ASSERT(item->is_sampled == (item->from + item->n_rows == r->n_total));
    if (item->is_sampled) {
        w->served[r->client] += SCHED_DECODE_COST;
    }
    w->class_turn_ns[class_of(w, r)] = is_turn ? w->now_ns : w->class_turn_ns[class_of(w, r)];
    r->has_turn = is_turn;
    r->is_running = true;
    r->was_sampled = item->is_sampled;
    r->n_run += item->n_rows; /* a second item of the request would not be contiguous */
}

static void finish_some(world *w, const sched_item *items, uint32_t n_items) {
    for (uint32_t i = 0; i < n_items; i++) {
        request *r = find_request(w, items[i].id);
        /* the last position agreed, or an end token */
        if (items[i].is_sampled && (r->n_run == r->n_max || random_below(60) == 0)) {
            check_answer(r);
            end_request(w, r);
            total.n_finished++;
        }
    }
}

/* What rows cost on the machine of this simulation, */
static uint64_t rows_ns(const world *w, uint32_t n_decode, uint32_t n_prompt) {
    return w->step_ns + (uint64_t)DECODE_ROW_NS * n_decode + (uint64_t)PROMPT_ROW_NS * n_prompt;
}

/* and a step of them, with noise. */
static uint64_t step_ns(const world *w, const sched_step *step) {
    const uint64_t ns = rows_ns(w, step->n_decode, step->n_rows - step->n_decode);
    return ns + ns * random_below(200) / 1000;
}

/* Prompt rows beside running answers are as many as the target has time for, or the least.
 * A rule of the outcome, not of how pace.c comes to it. */
static void check_budget(const world *w, const sched_step *step) {
    const uint32_t n_prompt = step->n_rows - step->n_decode;
    const uint64_t target = w->sched_config.itl_target_ns;
    if (target == 0 || step->n_decode == 0 || n_prompt == 0) {
        return;
    }
    const uint64_t least = rows_ns(w, step->n_decode, PACE_ROWS_MIN);
    const double allowed = BUDGET_ERROR * (double)(target > least ? target : least);
    const double share = (double)rows_ns(w, step->n_decode, n_prompt) / allowed;
    WEFT_ASSERT(share <= 1);
    total.budget_max = share > total.budget_max ? share : total.budget_max;
}

static void check_step(world *w, const sched_step *step) {
    uint32_t n_rows = 0, n_sampled = 0;
    WEFT_ASSERT(step->n_rows <= w->sched_config.batch_rows_max);
    WEFT_ASSERT(step->n_items <= w->sched_config.seqs_max);
    /* Something waits and nothing runs: then an empty cache must have admitted it. */
    WEFT_ASSERT(step->n_items > 0 || sched_running(w->sched) + sched_waiting(w->sched) == 0);
    check_senior(w, step);
    check_budget(w, step);
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        w->live[i].is_running = w->live[i].was_sampled = false;
    }
    for (uint32_t i = 0; i < step->n_items; i++) {
        WEFT_ASSERT(i >= step->n_decode || step->items[i].n_rows == 1);
        check_item(w, &step->items[i]);
        write_rows(w, &step->items[i]);
        n_rows += step->items[i].n_rows;
        n_sampled += step->items[i].is_sampled;
    }
    WEFT_ASSERT(n_rows == step->n_rows);
    WEFT_ASSERT(n_sampled == step->n_sampled);
    for (uint32_t i = 0; i < step->n_items; i++) {
        read_rows(w,
                  &step->items[i]); /* after all were written: nobody wrote into another's page */
    }
}

static void run_step(world *w) {
    static sched_item items[SEQS_MAX];
    expire_some(w);
    recall_some(w);
    const sched_step step = sched_next(w->sched, w->kv, w->now_ns);
    check_step(w, &step);
    const uint64_t ns = step_ns(w, &step);
    const uint32_t n_items = step.n_items, n_preempted = step.n_preempted;
    for (uint32_t i = 0; i < n_items; i++) {
        items[i] = step.items[i];
    }
    total.n_rows += step.n_rows;
    sched_advance(w->sched, w->kv, ns);
    save_pages(w, items, n_items);
    for (uint32_t i = 0; i < n_items; i++) {
        if (items[i].is_sampled) {
            sample(w, &items[i]);
        }
    }
    check_fairness(w, n_items, n_preempted);
    check_waits(w);
    finish_some(w, items, n_items);
    kv_seqs_check(w->kv);
    sched_check(w->sched, w->kv);
    if (w->has_disk) {
        sim_disk_work(random_below(4));
        sim_disk_check();
    }
    w->now_ns += n_items > 0 ? ns : 10000000;
    total.n_idle += n_items == 0;
    total.n_steps++;
}

/* The process is gone, and with it every request. Another one starts on the same disk. */
static void restart(world *w) {
    for (uint32_t i = 0; i < LIVE_MAX; i++) {
        if (w->live[i].id != 0) {
            end_request(w, &w->live[i]); /* gives memory back; no more than that */
            total.n_crashed++;
        }
    }
    memset(w->rivalries, 0, sizeof w->rivalries);
    memset(w->served, 0, sizeof w->served);
    w->n_hidden = 0;
    world_stop(w);
    world_start(w);
}

static void run_world(uint64_t n_steps) {
    static world w;
    static uint64_t i, n_left; /* static: they outlive a crash */
    world_init(&w);
    i = 0;
    if (setjmp(sim_disk_survive) != 0) {
        restart(&w);
    }
    while (i++ < n_steps) {
        while (random_below(100) < w.arrivals_percent) {
            arrive(&w);
        }
        cancel_some(&w);
        run_step(&w);
    }
    /* Everything there is, row by row, and once more for every time it may be turned out. */
    sim_disk_crash_in(0);
    n_left = (uint64_t)LIVE_MAX * w.length_max * 4 + 1000;
    for (; sched_running(w.sched) + sched_waiting(w.sched) + count_recalling(&w) > 0; n_left--) {
        WEFT_ASSERT(n_left > 0);
        run_step(&w);
    }
    for (uint32_t r = 0; r < LIVE_MAX; r++) {
        WEFT_ASSERT(w.live[r].id == 0); /* every request came to an end */
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
    const sim_disk_tally disk = sim_disk_tally_now();
    WEFT_ASSERT(total.n_finished + total.n_cancelled + total.n_expired + total.n_crashed ==
                total.n_arrived);
    printf("%" PRIu64 " steps, %" PRIu64 " idle, %" PRIu64 " rows, %" PRIu64
           " positions from the tree, %" PRIu64 " cache reads, %" PRIu64 " tokens\n"
           "%" PRIu64 " requests: %" PRIu64 " finished, %" PRIu64 " cancelled, %" PRIu64
           " past their deadline, %" PRIu64 " refused by a full queue; %" PRIu64 " preemptions\n"
           "disk: %" PRIu64 " pages saved, %" PRIu64 " brought back, %" PRIu64
           " made room, %" PRIu64 " found bad; %" PRIu64 " crashes, which took %" PRIu64
           " pages and %" PRIu64 " requests\n"
           "of their bounds at most: %.0f %% between clients, %.0f %% a client's turn, %.0f %% a "
           "class's wait, %.0f %% a step's time\n",
           total.n_steps, total.n_idle, total.n_rows, total.n_cached, total.n_cells, total.n_tokens,
           total.n_arrived, total.n_finished, total.n_cancelled, total.n_expired, total.n_refused,
           total.n_preempted, disk.n_saved, disk.n_recalled, disk.n_evicted, disk.n_bad,
           disk.n_crashes, disk.n_lost, total.n_crashed, 100 * total.rivalry_max,
           100 * total.lead_max, 100 * total.wait_max, 100 * total.budget_max);
    return 0;
}
