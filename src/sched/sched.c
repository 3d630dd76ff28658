/* sched.c - the policy: who waits, who runs, who gives way, which rows.
 *
 *   waiting  entries in no order; whose turn it is next is looked for (next_waiting)
 *   running  array in order of admission
 *
 * An entry knows how many of its positions are in the cache (n_done) and how many tokens it has
 * (n_total). Up to n_prefill they are run as a prompt; a decode row is the case past that. An entry
 * that is preempted becomes a prompt of all its tokens, and that is all: whatever was asked of it
 * is keyed by position and goes on unchanged.
 *
 * Why this ends: of all that run, the first by priority and arrival (the senior) is never asked to
 * give way, and everything else can be taken from the others and from the tree. A request that came
 * back is promised twice as much headroom as before, and is admitted only beside a spare page for
 * everyone who runs, so it is not turned out again at once.
 */
#include "sched/sched.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "sched/drain.h"
#include "sched/pace.h"
#include "sched/shares.h"

#define N_CLASSES (SCHED_PRIORITY_MAX - SCHED_PRIORITY_MIN + 1)
#define NONE UINT32_MAX

typedef struct entry {
    sched_request rq;
    kv_seq seq;
    uint64_t order; /* of arrival */
    uint64_t arrival_ns;
    uint32_t share; /* its client's */
    int32_t rank;   /* the priority it was admitted with: its own, or what waiting has made of it */
    uint32_t n_prefill;
    uint32_t n_done, n_total;
    uint32_t n_preempted;
    uint32_t n_planned; /* rows of the step being planned */
    uint32_t n_paid;    /* prompt rows that its client was charged for */
    kv_prefix prefix;   /* found in the cache */
    bool was_admitted;  /* at some time */
    bool has_run;       /* likewise: what it paid for its prompt stands */
    bool is_parked;     /* waits for another to run the pages that both begin with */
} entry;

struct sched {
    sched_config config;
    entry *waiting; /* [queue_max + seqs_max] */
    uint32_t n_waiting, n_queued;
    entry *running; /* [seqs_max], in order of admission */
    uint32_t n_running;
    sched_item *items; /* [seqs_max] of the planned step */
    sched_step step;
    uint32_t n_prompt_rows; /* in the last step that had any */
    uint64_t order_next;
    uint64_t now_ns;
    uint64_t class_turn_ns[N_CLASSES]; /* when one of the class was admitted last */
    shares shares;
    pace pace;
    drain drain;
};

weft_status sched_create(sched **out, const sched_config *config, weft_error *err) {
    if (config->seqs_max == 0 || config->queue_max == 0 ||
        config->batch_rows_max < config->seqs_max) {
        return weft_fail(err, WEFT_INVALID,
                         "scheduler of %u sequences, %u waiting, %u rows: wanted at least one of "
                         "each and a row for every sequence",
                         config->seqs_max, config->queue_max, config->batch_rows_max);
    }
    const uint32_t n_all = config->queue_max + config->seqs_max;
    sched *s = mem_zalloc(MEM_SCHED, 1, sizeof *s);
    weft_status status = s != NULL ? shares_init(&s->shares, n_all, err) : WEFT_NOMEM;
    if (status == WEFT_OK) {
        s->config = *config;
        pace_init(&s->pace, config->itl_target_ns);
        s->waiting = mem_zalloc(MEM_SCHED, n_all, sizeof *s->waiting);
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
        shares_deinit(&(*s)->shares);
        mem_free((*s)->waiting);
        mem_free((*s)->running);
        mem_free((*s)->items);
        mem_free(*s);
        *s = NULL;
    }
}

/* ---- the queue ---- */

static share *share_of(const sched *s, const entry *e) { return &s->shares.all[e->share]; }

static uint64_t *class_turn(sched *s, const entry *e) {
    return &s->class_turn_ns[e->rq.priority - SCHED_PRIORITY_MIN];
}

bool sched_try_submit(sched *s, const sched_request *rq, uint64_t now_ns) {
    WEFT_ASSERT(rq->n_prompt >= 1);
    WEFT_ASSERT(rq->n_max >= rq->n_prompt);
    WEFT_ASSERT(rq->priority >= SCHED_PRIORITY_MIN);
    WEFT_ASSERT(rq->priority <= SCHED_PRIORITY_MAX);
    if (s->n_waiting + s->n_running == s->config.queue_max + s->config.seqs_max) {
        return false;
    }
    s->waiting[s->n_waiting++] = (entry){.rq = *rq,
                                         .seq = KV_SEQ_NONE,
                                         .order = s->order_next++,
                                         .arrival_ns = now_ns,
                                         .share = shares_enter(&s->shares, rq->client),
                                         .n_prefill = rq->n_prompt,
                                         .n_total = rq->n_prompt};
    s->n_queued++;
    return true;
}

/* Whether a's turn comes before b's, both of one class. A newcomer has had as much as the least
 * served, but has less running. */
static bool is_sooner(const sched *s, const entry *a, const entry *b) {
    const share *x = share_of(s, a), *y = share_of(s, b);
    if (x->served != y->served) {
        return x->served < y->served;
    }
    return x->n_running != y->n_running ? x->n_running < y->n_running : a->order < b->order;
}

/* Whose turn it is. A class counts as one higher for every SCHED_AGE_NS that it has waited for a
 * turn; of the class that is highest so, the least served client's oldest request. */
static uint32_t next_waiting(const sched *s, int32_t *rank) {
    uint32_t first[N_CLASSES];
    uint64_t since[N_CLASSES];
    memset(first, 0xff, sizeof first); /* NONE */
    for (uint32_t i = 0; i < s->n_waiting; i++) {
        const entry *e = &s->waiting[i];
        const int32_t c = e->rq.priority - SCHED_PRIORITY_MIN;
        if (first[c] == NONE || e->arrival_ns < since[c]) {
            since[c] = e->arrival_ns;
        }
        if (first[c] == NONE || is_sooner(s, e, &s->waiting[first[c]])) {
            first[c] = i;
        }
    }
    uint32_t best = NONE, highest = 0;
    uint64_t best_level = 0;
    for (uint32_t c = N_CLASSES; c-- > 0;) {
        if (first[c] != NONE) {
            highest = c > highest ? c : highest;
            const uint64_t from = since[c] > s->class_turn_ns[c] ? since[c] : s->class_turn_ns[c];
            const uint64_t waited = s->now_ns > from ? s->now_ns - from : 0;
            const uint64_t level = c + waited / SCHED_AGE_NS;
            if (best == NONE || level >= best_level) {
                best = first[c];
                best_level = level;
                *rank = (int32_t)(level < highest ? level : highest) + SCHED_PRIORITY_MIN;
            }
        }
    }
    return best;
}

static void leave_waiting(sched *s, uint32_t i) {
    s->n_queued -= !s->waiting[i].was_admitted;
    s->waiting[i] = s->waiting[--s->n_waiting];
}

static void leave_running(sched *s, uint32_t i) {
    share_of(s, &s->running[i])->n_running--;
    memmove(&s->running[i], &s->running[i + 1], (s->n_running - i - 1) * sizeof *s->running);
    s->n_running--;
}

/* ---- giving way ---- */

/* The order in which rows must give way: the lowest priority first, of one the youngest. */
static bool is_junior(const entry *a, const entry *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->order > b->order);
}

/* The most junior of those that run, or of one client's. NONE when nobody is there. */
static uint32_t most_junior(const sched *s, uint32_t client) {
    uint32_t junior = NONE;
    for (uint32_t i = 0; i < s->n_running; i++) {
        const bool is_meant = client == NONE || s->running[i].share == client;
        if (is_meant && (junior == NONE || is_junior(&s->running[i], &s->running[junior]))) {
            junior = i;
        }
    }
    return junior;
}

/* It waits with all the tokens it has as its prompt. Its sequence is closed. */
static void send_back(sched *s, uint32_t i) {
    entry e = s->running[i];
    leave_running(s, i);
    e.seq = KV_SEQ_NONE;
    e.n_prefill = e.n_total;
    e.n_done = 0;
    e.is_parked = false;
    e.n_preempted++;
    s->waiting[s->n_waiting++] = e;
    s->step.n_preempted++;
}

/* Its whole pages stay in the tree. */
static void preempt(sched *s, kv_seqs *kv, uint32_t i) {
    kv_seq_close(kv, s->running[i].seq);
    send_back(s, i);
}

/* Whom a waiting request may turn out: the most junior when that is of a lower class; and when its
 * client has nothing running, one of the client that has the most, if that is at least two. */
static uint32_t who_gives_way_to(const sched *s, const entry *e) {
    const uint32_t junior = most_junior(s, NONE);
    if (junior == NONE || s->running[junior].rank < e->rq.priority) {
        return junior;
    }
    uint32_t most = NONE;
    for (uint32_t i = 0; i < s->n_running && share_of(s, e)->n_running == 0; i++) {
        const uint32_t n = share_of(s, &s->running[i])->n_running;
        if (n >= 2 && (most == NONE || n > share_of(s, &s->running[most])->n_running)) {
            most = i;
        }
    }
    if (most == NONE) {
        return NONE;
    }
    const uint32_t theirs = most_junior(s, s->running[most].share);
    return s->running[theirs].rank <= e->rq.priority ? theirs : NONE;
}

static uint32_t promise_of(const entry *e) {
    const uint32_t shift = e->n_preempted < 16 ? e->n_preempted : 16;
    const uint64_t n = e->n_total + ((uint64_t)SCHED_HEADROOM << shift);
    return n < e->rq.n_max ? (uint32_t)n : e->rq.n_max;
}

/* Every row that decodes must have a page to write to. */
static void make_room(sched *s, kv_seqs *kv) {
    for (uint32_t i = 0; i < s->n_running;) {
        const entry *e = &s->running[i];
        const uint32_t left = e->rq.n_max - e->n_total;
        WEFT_ASSERT(e->n_total <= e->rq.n_max);
        if (e->n_total <= kv_seq_promised(kv, e->seq) ||
            kv_seq_try_promise(kv, e->seq,
                               e->n_total + (left < PAGE_TOKENS ? left : PAGE_TOKENS))) {
            i++;
            continue;
        }
        const uint32_t junior = most_junior(s, NONE);
        i -= junior <
             i; /* what follows it moves up; when it is e itself, the next one stands here */
        preempt(s, kv, junior);
    }
}

/* ---- admission ---- */

/* Opens the entry's sequence on what the cache has of its tokens, if n_spare pages stay free. */
static bool try_open(entry *e, kv_seqs *kv, uint32_t n_spare) {
    const uint32_t n_known = e->rq.units != NULL ? e->n_total : 0;
    /* Before it makes room, which may take the place of names that explain a miss. */
    e->prefix = n_known > 0 ? kv_seqs_explain(kv, e->rq.units, n_known) : (kv_prefix){0};
    e->seq = kv_seq_try_open_prompt(kv, e->rq.units, n_known, promise_of(e), n_spare);
    if (e->seq == KV_SEQ_NONE) {
        return false;
    }
    e->n_done = kv_seq_tokens(kv, e->seq);
    if (e->prefix.n_tokens != e->n_done) { /* a shared window that did not fit, or made room */
        e->prefix = (kv_prefix){e->n_done, e->n_done, KV_MISS_EVICTED};
    }
    return true;
}

/* Charges for the prompt rows that will be run. What the cache has of a prompt may be more once it
 * is opened again, after it was parked: then some of the charge is given back. */
static void settle(sched *s, entry *e) {
    if (!e->has_run) {
        const uint32_t n_rows = e->n_prefill - e->n_done;
        shares_charge(&s->shares, e->share, (double)n_rows - e->n_paid);
        e->n_paid = n_rows;
    }
}

static void start_running(sched *s, entry *e) {
    settle(s, e);
    e->was_admitted = true;
    share_of(s, e)->n_running++;
    *class_turn(s, e) = s->now_ns;
    s->running[s->n_running++] = *e;
}

static void admit(sched *s, kv_seqs *kv) {
    int32_t rank = 0;
    for (uint32_t i = next_waiting(s, &rank); i != NONE; i = next_waiting(s, &rank)) {
        entry e = s->waiting[i];
        e.rank = rank;
        while (s->n_running == s->config.seqs_max || !try_open(&e, kv, s->n_running)) {
            const uint32_t junior = who_gives_way_to(s, &e);
            if (junior == NONE) {
                return;
            }
            preempt(s, kv, junior); /* appended: i stays where it is */
        }
        leave_waiting(s, i);
        start_running(s, &e);
    }
}

/* ---- rows ---- */

static bool is_decoding(const entry *e) { return e->n_done >= e->n_prefill; }

/* Positions, in whole pages, that two prompts begin with alike and the second would not run. */
static uint32_t common_prefix(const entry *a, const entry *b) {
    const uint32_t n = (a->n_prefill < b->n_prefill ? a->n_prefill : b->n_prefill - 1);
    uint32_t i = 0;
    while (i < n && a->rq.units[i] == b->rq.units[i]) {
        i++;
    }
    return i / PAGE_TOKENS * PAGE_TOKENS;
}

/* Whether a request admitted earlier is about to run pages that this one could share. */
static bool must_wait(const sched *s, uint32_t i) {
    const entry *e = &s->running[i];
    for (uint32_t j = 0; j < i && e->rq.units != NULL; j++) {
        const entry *older = &s->running[j];
        if (older->rq.units != NULL && !is_decoding(older) && older->n_done < e->n_prefill) {
            const uint32_t common = common_prefix(older, e);
            if (common > e->n_done && common > older->n_done) {
                return true;
            }
        }
    }
    return false;
}

/* Prompts that have run nothing of their own yet may be parked. Once the others are through, they
 * are opened again, on what those published; where that does not fit, they wait again. */
static void park(sched *s, kv_seqs *kv) {
    for (uint32_t i = 0; i < s->n_running;) {
        entry *e = &s->running[i];
        const bool was_parked = e->is_parked;
        if (!is_decoding(e) && e->n_done == e->prefix.n_tokens) {
            e->is_parked = must_wait(s, i);
        }
        if (was_parked && !e->is_parked) {
            kv_seq_close(kv, e->seq);
            if (!try_open(e, kv, 0)) {
                send_back(s, i);
                continue;
            }
            settle(s, e);
        }
        i++;
    }
}

/* Deals n_rows out to the prompts: at least half of them to the one admitted first, the rest to who
 * has least left, so that a short prompt does not wait for a long one to end. */
static void deal_rows(sched *s, uint32_t n_rows) {
    uint32_t half = (n_rows + 1) / 2;
    while (n_rows > 0) {
        entry *next = NULL;
        uint32_t next_left = 0;
        for (uint32_t i = 0; i < s->n_running; i++) {
            entry *e = &s->running[i];
            const uint32_t left = e->n_prefill - e->n_done - e->n_planned;
            const bool can_run = !is_decoding(e) && !e->is_parked && left > 0;
            if (can_run && (next == NULL || (half == 0 && left < next_left))) {
                next = e;
                next_left = left;
            }
        }
        if (next == NULL) {
            return;
        }
        const uint32_t most = half > 0 ? half : n_rows;
        const uint32_t n = next_left < most ? next_left : most;
        next->n_planned += n;
        n_rows -= n;
        half = 0;
    }
}

/* Prompts that have rows to run and wait for nobody. */
static uint32_t count_prompts(const sched *s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_running; i++) {
        n += !is_decoding(&s->running[i]) && !s->running[i].is_parked;
    }
    return n;
}

/* Where the prompts' rows would begin on average, if they got as many as in the last step. */
static double prompt_depth(sched *s) {
    double n_rows = 0, depth = 0;
    deal_rows(s, s->n_prompt_rows);
    for (uint32_t i = 0; i < s->n_running; i++) {
        entry *e = &s->running[i];
        n_rows += e->n_planned;
        depth += (double)e->n_planned * e->n_done;
        e->n_planned = 0;
    }
    return n_rows > 0 ? depth / n_rows : 0;
}

static void plan_item(sched *s, kv_seqs *kv, const entry *e, uint32_t n_rows) {
    WEFT_ASSERT(e->n_done + n_rows <= e->rq.n_max);
    kv_seq_grow(kv, e->seq, e->n_done, e->n_done + n_rows);
    const sched_item item = {.id = e->rq.id,
                             .seq = e->seq,
                             .from = e->n_done,
                             .n_rows = n_rows,
                             .prefix = e->prefix,
                             .n_preempted = e->n_preempted,
                             .is_sampled = e->n_done + n_rows == e->n_total};
    s->items[s->step.n_items++] = item;
    s->step.n_rows += n_rows;
    s->step.n_sampled += item.is_sampled;
}

sched_step sched_next(sched *s, kv_seqs *kv, uint64_t now_ns) {
    const uint32_t n_queued = s->n_queued;
    s->now_ns = now_ns;
    s->step = (sched_step){.items = s->items};
    make_room(s, kv);
    admit(s, kv);
    park(s, kv);
    drain_observe(&s->drain, n_queued, n_queued - s->n_queued, now_ns);
    for (uint32_t i = 0; i < s->n_running; i++) {
        s->running[i].n_planned = 0;
        if (is_decoding(&s->running[i])) {
            plan_item(s, kv, &s->running[i], 1);
        }
    }
    s->step.n_decode = s->step.n_rows;
    deal_rows(s, pace_rows(&s->pace, s->step.n_decode, count_prompts(s), prompt_depth(s),
                           s->config.batch_rows_max - s->step.n_decode));
    for (uint32_t i = 0; i < s->n_running; i++) {
        if (s->running[i].n_planned > 0) {
            plan_item(s, kv, &s->running[i], s->running[i].n_planned);
        }
    }
    return s->step;
}

static entry *find_running(sched *s, sched_id id, uint32_t *index) {
    for (uint32_t i = 0; i < s->n_running; i++) {
        if (s->running[i].rq.id == id) {
            *index = i;
            return &s->running[i];
        }
    }
    return NULL;
}

static void observe_step(sched *s, uint64_t step_ns) {
    const uint32_t n_prompt_rows = s->step.n_rows - s->step.n_decode;
    double depth = 0;
    for (uint32_t i = s->step.n_decode; i < s->step.n_items; i++) {
        depth += (double)s->items[i].n_rows * s->items[i].from / n_prompt_rows;
    }
    pace_observe(&s->pace, s->step.n_decode, n_prompt_rows, depth, step_ns);
    s->n_prompt_rows = n_prompt_rows > 0 ? n_prompt_rows : s->n_prompt_rows;
}

void sched_advance(sched *s, kv_seqs *kv, uint64_t step_ns) {
    uint32_t index = 0;
    observe_step(s, step_ns);
    for (uint32_t i = 0; i < s->step.n_items; i++) {
        const sched_item *item = &s->items[i];
        entry *e = find_running(s, item->id, &index);
        WEFT_ASSERT(e != NULL);
        e->n_done += item->n_rows;
        e->has_run = true;
        if (e->rq.units != NULL) {
            kv_seq_publish(kv, e->seq, e->rq.units, e->n_done);
        }
        if (item->is_sampled) {
            e->n_total++;
            shares_charge(&s->shares, e->share, SCHED_DECODE_COST);
        }
    }
    s->step = (sched_step){.items = s->items};
}

bool sched_finish(sched *s, kv_seqs *kv, sched_id id) {
    uint32_t index = 0;
    const entry *e = find_running(s, id, &index);
    if (e != NULL) {
        const uint32_t client = e->share;
        kv_seq_close(kv, e->seq);
        leave_running(s, index);
        shares_leave(&s->shares, client);
        return true;
    }
    for (uint32_t i = 0; i < s->n_waiting; i++) {
        if (s->waiting[i].rq.id == id) {
            shares_leave(&s->shares, s->waiting[i].share);
            leave_waiting(s, i);
            return true;
        }
    }
    return false;
}

static const entry *first_expired(const entry *entries, uint32_t n, uint64_t now_ns) {
    for (uint32_t i = 0; i < n; i++) {
        if (entries[i].rq.deadline_ns != 0 && entries[i].rq.deadline_ns <= now_ns) {
            return &entries[i];
        }
    }
    return NULL;
}

bool sched_try_expired(const sched *s, uint64_t now_ns, sched_id *id) {
    const entry *e = first_expired(s->running, s->n_running, now_ns);
    e = e != NULL ? e : first_expired(s->waiting, s->n_waiting, now_ns);
    if (e != NULL) {
        *id = e->rq.id;
    }
    return e != NULL;
}

uint32_t sched_running(const sched *s) { return s->n_running; }

uint32_t sched_waiting(const sched *s) { return s->n_waiting; }

uint32_t sched_queued(const sched *s) { return s->n_queued; }

uint32_t sched_retry_ms(const sched *s) { return drain_retry_ms(&s->drain, s->n_queued); }

void sched_check(const sched *s, const kv_seqs *kv) {
    uint32_t n_queued = 0;
    WEFT_ASSERT(s->n_waiting + s->n_running <= s->config.queue_max + s->config.seqs_max);
    WEFT_ASSERT(s->n_running <= s->config.seqs_max);
    WEFT_ASSERT(s->n_running == kv_seqs_open_count(kv));
    for (uint32_t i = 0; i < s->n_running; i++) {
        const entry *e = &s->running[i];
        WEFT_ASSERT(e->was_admitted);
        WEFT_ASSERT(e->n_done <= e->rq.n_max);
        WEFT_ASSERT(e->n_prefill >= e->rq.n_prompt);
        WEFT_ASSERT(e->n_total >= e->n_prefill);
        WEFT_ASSERT(e->n_done <= e->n_total);
        WEFT_ASSERT(kv_seq_tokens(kv, e->seq) >= e->n_done);
        WEFT_ASSERT(kv_seq_promised(kv, e->seq) <= e->rq.n_max);
        WEFT_ASSERT(share_of(s, e)->client == e->rq.client);
    }
    for (uint32_t i = 0; i < s->n_waiting; i++) {
        WEFT_ASSERT(s->waiting[i].seq == KV_SEQ_NONE);
        WEFT_ASSERT(share_of(s, &s->waiting[i])->client == s->waiting[i].rq.client);
        n_queued += !s->waiting[i].was_admitted;
    }
    WEFT_ASSERT(n_queued == s->n_queued);
    shares_check(&s->shares);
}
