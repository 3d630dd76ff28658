/* kv_seqs.c - block tables over the pools of each KV group.
 *
 * For every open sequence and group:  pages held + pages still reserved = what was promised at
 * open. Growing moves pages from reserved to held; a page that slides out of the window moves back.
 * So growing cannot fail and closing returns exactly the promise.
 *
 *   table:  -  -  31  8  5  -  -        held are [first, end)
 *                 ^first    ^end = pages of n_tokens
 */
#include "kv/kv_seqs.h"

#include "base/check.h"
#include "base/mem.h"

typedef struct seq_group {
    kv_page *pages; /* [table_len] */
    uint32_t first, end;
    uint32_t n_reserved;
} seq_group;

typedef struct seq_slot {
    bool is_open;
    uint32_t n_tokens, n_tokens_max;
    seq_group groups[KV_GROUPS_MAX];
} seq_slot;

struct kv_seqs {
    kv_config config;
    kv_pool *pools[KV_GROUPS_MAX];
    uint32_t table_len; /* pages of ctx_max positions */
    uint32_t n_open;
    seq_slot *slots; /* [seqs_max] */
    kv_page *tables; /* [seqs_max][n_groups][table_len] */
};

static void give_storage(kv_seqs *kv) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        kv_pool_destroy(&kv->pools[g]);
    }
    mem_free(kv->slots);
    mem_free(kv->tables);
    mem_free(kv);
}

static weft_status check_config(const kv_config *c, weft_error *err) {
    if (c->n_groups == 0 || c->n_groups > KV_GROUPS_MAX || c->seqs_max == 0 || c->ctx_max == 0 ||
        c->chunk_max == 0) {
        return weft_fail(err, WEFT_INVALID,
                         "KV of %u groups, %u sequences, %u positions, chunks of %u: wanted 1 to "
                         "%u groups and no zero",
                         c->n_groups, c->seqs_max, c->ctx_max, c->chunk_max, KV_GROUPS_MAX);
    }
    return WEFT_OK;
}

weft_status kv_seqs_create(kv_seqs **out, const kv_config *config, weft_error *err) {
    weft_status status = check_config(config, err);
    if (status != WEFT_OK) {
        return status;
    }
    kv_seqs *kv = mem_zalloc(MEM_KV, 1, sizeof *kv);
    if (kv == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for KV block tables");
    }
    kv->config = *config;
    kv->table_len = page_count(config->ctx_max);
    const size_t n_tables = (size_t)config->seqs_max * config->n_groups;
    kv->slots = mem_zalloc(MEM_KV, config->seqs_max, sizeof *kv->slots);
    kv->tables = mem_array(MEM_KV, n_tables * kv->table_len, sizeof *kv->tables);
    if (kv->slots == NULL || kv->tables == NULL) {
        status = weft_fail(err, WEFT_NOMEM, "out of memory for %zu KV block tables", n_tables);
    }
    for (uint32_t g = 0; g < config->n_groups && status == WEFT_OK; g++) {
        status = kv_pool_create(&kv->pools[g], config->groups[g].n_pages, err);
    }
    if (status != WEFT_OK) {
        give_storage(kv);
        return status;
    }
    for (size_t i = 0; i < n_tables * kv->table_len; i++) {
        kv->tables[i] = KV_PAGE_NONE;
    }
    for (uint32_t s = 0; s < config->seqs_max; s++) {
        for (uint32_t g = 0; g < config->n_groups; g++) {
            kv->slots[s].groups[g].pages =
                kv->tables + ((size_t)s * config->n_groups + g) * kv->table_len;
        }
    }
    *out = kv;
    return WEFT_OK;
}

void kv_seqs_destroy(kv_seqs **kv) {
    if (*kv != NULL) {
        WEFT_ASSERT((*kv)->n_open == 0);
        give_storage(*kv);
        *kv = NULL;
    }
}

static seq_slot *slot_of(const kv_seqs *kv, kv_seq seq) {
    WEFT_ASSERT(seq < kv->config.seqs_max);
    WEFT_ASSERT(kv->slots[seq].is_open);
    return &kv->slots[seq];
}

/* Reserves in every group or in none. */
static bool try_reserve(kv_seqs *kv, seq_slot *slot, uint32_t n_tokens_max) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        const uint32_t n =
            page_count_group(kv->config.groups[g].window, n_tokens_max, kv->config.chunk_max);
        if (!kv_pool_try_reserve(kv->pools[g], n)) {
            while (g-- > 0) {
                kv_pool_unreserve(kv->pools[g], slot->groups[g].n_reserved);
            }
            return false;
        }
        slot->groups[g].n_reserved = n;
    }
    return true;
}

kv_seq kv_seq_try_open(kv_seqs *kv, uint32_t n_tokens_max) {
    WEFT_ASSERT(n_tokens_max <= kv->config.ctx_max);
    if (kv->n_open == kv->config.seqs_max) {
        return KV_SEQ_NONE;
    }
    kv_seq seq = 0;
    while (kv->slots[seq].is_open) {
        seq++;
    }
    seq_slot *slot = &kv->slots[seq];
    if (!try_reserve(kv, slot, n_tokens_max)) {
        return KV_SEQ_NONE;
    }
    slot->is_open = true;
    slot->n_tokens = 0;
    slot->n_tokens_max = n_tokens_max;
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        slot->groups[g].first = slot->groups[g].end = 0;
    }
    kv->n_open++;
    return seq;
}

/* Gives pages [from, to) of a table back to the pool and to the sequence's reservation. */
static void drop_pages(kv_seqs *kv, uint32_t g, seq_group *sg, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        if (kv_pool_release(kv->pools[g], sg->pages[i])) {
            const bool is_reserved = kv_pool_try_reserve(kv->pools[g], 1);
            WEFT_ASSERT(is_reserved); /* the page that was just freed */
            sg->n_reserved++;
        }
        sg->pages[i] = KV_PAGE_NONE;
    }
}

void kv_seq_close(kv_seqs *kv, kv_seq seq) {
    seq_slot *slot = slot_of(kv, seq);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        seq_group *sg = &slot->groups[g];
        drop_pages(kv, g, sg, sg->first, sg->end);
        kv_pool_unreserve(kv->pools[g], sg->n_reserved);
        sg->n_reserved = 0;
    }
    slot->is_open = false;
    kv->n_open--;
}

void kv_seq_grow(kv_seqs *kv, kv_seq seq, uint32_t n_past, uint32_t n_tokens) {
    seq_slot *slot = slot_of(kv, seq);
    WEFT_ASSERT(n_past <= slot->n_tokens);
    WEFT_ASSERT(n_tokens <= slot->n_tokens_max);
    WEFT_ASSERT(n_tokens >= slot->n_tokens);
    WEFT_ASSERT(n_tokens - n_past <= kv->config.chunk_max);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        seq_group *sg = &slot->groups[g];
        const uint32_t window = kv->config.groups[g].window;
        if (window != 0 && n_past + 1 > window) {
            const uint32_t first = (n_past + 1 - window) / PAGE_TOKENS;
            const uint32_t to = first < sg->end ? first : sg->end;
            if (to > sg->first) {
                drop_pages(kv, g, sg, sg->first, to);
                sg->first = to;
            }
        }
        for (; sg->end < page_count(n_tokens); sg->end++) {
            WEFT_ASSERT(sg->n_reserved > 0);
            sg->pages[sg->end] = kv_pool_take(kv->pools[g]);
            sg->n_reserved--;
        }
    }
    slot->n_tokens = n_tokens;
}

uint32_t kv_seq_cut_min(const kv_seqs *kv, kv_seq seq) {
    const seq_slot *slot = slot_of(kv, seq);
    uint32_t min = 0;
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        const uint32_t window = kv->config.groups[g].window;
        const uint32_t first = slot->groups[g].first;
        /* position n - 1 onwards must see [n - window, n) inside the kept pages */
        if (first > 0 && first * PAGE_TOKENS + window - 1 > min) {
            min = first * PAGE_TOKENS + window - 1;
        }
    }
    return min;
}

void kv_seq_cut(kv_seqs *kv, kv_seq seq, uint32_t n_tokens) {
    seq_slot *slot = slot_of(kv, seq);
    WEFT_ASSERT(n_tokens <= slot->n_tokens);
    WEFT_ASSERT(n_tokens >= kv_seq_cut_min(kv, seq));
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        seq_group *sg = &slot->groups[g];
        const uint32_t end = page_count(n_tokens);
        if (end < sg->end) {
            drop_pages(kv, g, sg, end > sg->first ? end : sg->first, sg->end);
            sg->end = end;
            if (sg->first > end) {
                sg->first = end;
            }
        }
    }
    slot->n_tokens = n_tokens;
}

uint32_t kv_seq_tokens(const kv_seqs *kv, kv_seq seq) { return slot_of(kv, seq)->n_tokens; }

const kv_page *kv_seq_pages(const kv_seqs *kv, kv_seq seq, uint32_t group) {
    WEFT_ASSERT(group < kv->config.n_groups);
    return slot_of(kv, seq)->groups[group].pages;
}

const kv_pool *kv_seqs_pool(const kv_seqs *kv, uint32_t group) {
    WEFT_ASSERT(group < kv->config.n_groups);
    return kv->pools[group];
}

uint32_t kv_seqs_open_count(const kv_seqs *kv) { return kv->n_open; }

static void check_group(const kv_seqs *kv, uint32_t g) {
    const kv_pool *pool = kv->pools[g];
    uint32_t n_held = 0, n_reserved = 0;
    kv_pool_check(pool);
    for (uint32_t s = 0; s < kv->config.seqs_max; s++) {
        const seq_slot *slot = &kv->slots[s];
        const seq_group *sg = &slot->groups[g];
        for (uint32_t i = 0; i < kv->table_len; i++) {
            const bool is_held = slot->is_open && i >= sg->first && i < sg->end;
            WEFT_ASSERT(is_held == (sg->pages[i] != KV_PAGE_NONE));
            if (is_held) {
                WEFT_ASSERT(kv_pool_holders(pool, sg->pages[i]) == 1); /* nothing shares yet */
                n_held++;
            }
        }
        n_reserved += slot->is_open ? sg->n_reserved : 0;
    }
    WEFT_ASSERT(n_held == kv_pool_held(pool));
    WEFT_ASSERT(kv_pool_available(pool) == kv_pool_count(pool) - n_held - n_reserved);
}

void kv_seqs_check(const kv_seqs *kv) {
    uint32_t n_open = 0;
    for (uint32_t s = 0; s < kv->config.seqs_max; s++) {
        n_open += kv->slots[s].is_open;
    }
    WEFT_ASSERT(n_open == kv->n_open);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        check_group(kv, g);
    }
}

void kv_seqs_shuffle(kv_seqs *kv, uint64_t seed) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        kv_pool_shuffle(kv->pools[g], seed + g);
    }
}
