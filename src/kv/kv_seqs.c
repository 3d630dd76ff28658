/* kv_seqs.c - block tables over the pools of each KV group.
 *
 * For every open sequence and group:  pages held + pages still reserved = what was promised.
 * Growing moves pages from reserved to held; a page that slides out of the window moves back. So
 * growing cannot fail and closing returns exactly the promise.
 *
 *   table:  -  -  31  8  5  -  -        held are [first, end)
 *                 ^first    ^end = pages of n_tokens
 *
 * A page of the table is owed (out of the promise) or shared (the tree's or another's too). Losing
 * a shared page gives nothing back. In a full group that is right: nothing slides out, and a shared
 * beginning was never promised. In a sliding group the whole promise is made anyway, and a page
 * is published while the sequence runs only when another can be set aside in its place.
 */
#include "kv/kv_seqs.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/os.h"

typedef struct seq_group {
    kv_page *pages;  /* [table_len] */
    bool *is_shared; /* [table_len] */
    uint32_t first, end;
    uint32_t n_reserved;
} seq_group;

typedef struct seq_slot {
    bool is_open;
    uint32_t n_tokens, n_tokens_max;
    uint32_t n_published; /* pages; the node is the last one's, pinned */
    kv_node node;
    seq_group groups[KV_GROUPS_MAX];
} seq_slot;

struct kv_seqs {
    kv_config config;
    kv_pool *pools[KV_GROUPS_MAX];
    uint32_t table_len; /* pages of ctx_max positions */
    uint32_t n_open;
    seq_slot *slots; /* [seqs_max] */
    kv_page *tables; /* [seqs_max][n_groups][table_len] */
    bool *shared;    /* the same */
    kv_tree *tree;
};

static void give_storage(kv_seqs *kv) {
    kv_tree_destroy(&kv->tree);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        kv_pool_destroy(&kv->pools[g]);
    }
    mem_free(kv->slots);
    mem_free(kv->tables);
    mem_free(kv->shared);
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
    kv_tree_config tree_config = {.n_groups = config->n_groups, .seed = os_random_u64()};
    kv->slots = mem_zalloc(MEM_KV, config->seqs_max, sizeof *kv->slots);
    kv->tables = mem_array(MEM_KV, n_tables * kv->table_len, sizeof *kv->tables);
    kv->shared = mem_zalloc(MEM_KV, n_tables * kv->table_len, sizeof *kv->shared);
    if (kv->slots == NULL || kv->tables == NULL || kv->shared == NULL) {
        status = weft_fail(err, WEFT_NOMEM, "out of memory for %zu KV block tables", n_tables);
    }
    for (uint32_t g = 0; g < config->n_groups && status == WEFT_OK; g++) {
        status = kv_pool_create(&kv->pools[g], config->groups[g].n_pages, err);
        tree_config.pools[g] = kv->pools[g];
        tree_config.is_sliding[g] = config->groups[g].window != 0;
    }
    if (status == WEFT_OK) {
        status = kv_tree_create(&kv->tree, &tree_config, err);
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
            const size_t at = ((size_t)s * config->n_groups + g) * kv->table_len;
            kv->slots[s].groups[g].pages = kv->tables + at;
            kv->slots[s].groups[g].is_shared = kv->shared + at;
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

/* Sets n pages aside, evicting what only the tree holds when it must and when that helps. */
static bool try_reserve_pages(kv_seqs *kv, uint32_t g, uint32_t n) {
    if (n > kv_seqs_spare(kv, g)) {
        return false;
    }
    while (!kv_pool_try_reserve(kv->pools[g], n)) {
        if (!kv_tree_try_evict(kv->tree, g)) {
            return false;
        }
    }
    return true;
}

static uint32_t pages_promised(const kv_seqs *kv, uint32_t g, uint32_t n_tokens_max) {
    return page_count_group(kv->config.groups[g].window, n_tokens_max, kv->config.chunk_max);
}

/* Reserves n[g] pages more for the slot in every group, or in none. Nothing is evicted unless all
 * of them can be had, and n_spare of every full group remain. */
static bool try_reserve(kv_seqs *kv, seq_slot *slot, const uint32_t n[KV_GROUPS_MAX],
                        uint32_t n_spare) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        const bool is_full = kv->config.groups[g].window == 0;
        if (n[g] + (is_full ? n_spare : 0) > kv_seqs_spare(kv, g)) {
            return false;
        }
    }
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        if (!try_reserve_pages(kv, g, n[g])) { /* what seemed idle was pinned */
            while (g-- > 0) {
                kv_pool_unreserve(kv->pools[g], n[g]);
                slot->groups[g].n_reserved -= n[g];
            }
            return false;
        }
        slot->groups[g].n_reserved += n[g];
    }
    return true;
}

/* The first page that a row at position n of the group sees. */
static uint32_t first_seen(uint32_t window, uint32_t n) {
    return window != 0 && n + 1 > window ? (n + 1 - window) / PAGE_TOKENS : 0;
}

/* The deepest node on the prompt's path from which every group can go on; its depth in pages. */
static kv_node find_prefix(const kv_seqs *kv, const kv_unit *units, uint32_t n_pages_max,
                           uint32_t *n_pages) {
    uint32_t n_resident[KV_GROUPS_MAX] = {0}; /* without a gap, up to the node */
    kv_node best = KV_NODE_ROOT, node = KV_NODE_ROOT;
    *n_pages = 0;
    for (uint32_t i = 0; i < n_pages_max; i++) {
        node = kv_tree_child(kv->tree, node, units + (size_t)i * PAGE_TOKENS);
        if (node == KV_NODE_NONE) {
            break;
        }
        bool can_go_on = true;
        for (uint32_t g = 0; g < kv->config.n_groups; g++) {
            const bool is_there = kv_tree_page(kv->tree, node, g) != KV_PAGE_NONE;
            const uint32_t first = first_seen(kv->config.groups[g].window, (i + 1) * PAGE_TOKENS);
            n_resident[g] = is_there ? n_resident[g] + 1 : 0;
            can_go_on &= n_resident[g] >= i + 1 - first;
        }
        if (can_go_on) {
            best = node;
            *n_pages = i + 1;
        }
    }
    return best;
}

/* Becomes a holder of the n_pages pages up to the node, as far as the windows reach. */
static void share_prefix(kv_seqs *kv, seq_slot *slot, kv_node node, uint32_t n_pages) {
    slot->node = node;
    slot->n_published = n_pages;
    slot->n_tokens = n_pages * PAGE_TOKENS;
    kv_tree_pin(kv->tree, node);
    kv_tree_touch(kv->tree, node);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        seq_group *sg = &slot->groups[g];
        sg->first = first_seen(kv->config.groups[g].window, slot->n_tokens);
        sg->first = sg->first < n_pages ? sg->first : n_pages;
        sg->end = n_pages;
    }
    for (uint32_t i = n_pages; i-- > 0; node = kv_tree_parent(kv->tree, node)) {
        for (uint32_t g = 0; g < kv->config.n_groups; g++) {
            seq_group *sg = &slot->groups[g];
            if (i >= sg->first) {
                sg->pages[i] = kv_tree_page(kv->tree, node, g);
                sg->is_shared[i] = true;
                kv_pool_retain(kv->pools[g], sg->pages[i]);
            }
        }
    }
}

/* Gives pages [from, to) of a table back: owed ones to the sequence's reservation as well. */
static void drop_pages(kv_seqs *kv, uint32_t g, seq_group *sg, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        const bool is_free = kv_pool_release(kv->pools[g], sg->pages[i]);
        if (!sg->is_shared[i]) {
            const bool is_reserved = is_free && kv_pool_try_reserve(kv->pools[g], 1);
            WEFT_ASSERT(is_reserved); /* the page that was just freed */
            sg->n_reserved++;
        }
        sg->pages[i] = KV_PAGE_NONE;
        sg->is_shared[i] = false;
    }
}

static void let_go(kv_seqs *kv, seq_slot *slot) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        seq_group *sg = &slot->groups[g];
        drop_pages(kv, g, sg, sg->first, sg->end);
        kv_pool_unreserve(kv->pools[g], sg->n_reserved);
        sg->n_reserved = 0;
    }
    kv_tree_unpin(kv->tree, slot->node);
}

static bool try_prefix(kv_seqs *kv, seq_slot *slot, const kv_unit *units, uint32_t n_pages_max,
                       uint32_t n_tokens_max, uint32_t n_spare) {
    uint32_t n_pages = 0, n[KV_GROUPS_MAX] = {0};
    const kv_node node = find_prefix(kv, units, n_pages_max, &n_pages);
    share_prefix(kv, slot, node, n_pages);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        const uint32_t n_shared = kv->config.groups[g].window == 0 ? slot->groups[g].end : 0;
        n[g] = pages_promised(kv, g, n_tokens_max) - n_shared;
        slot->groups[g].n_reserved = 0;
    }
    if (try_reserve(kv, slot, n, n_spare)) {
        return true;
    }
    let_go(kv, slot);
    return false;
}

kv_seq kv_seq_try_open_prompt(kv_seqs *kv, const kv_unit *units, uint32_t n_prompt,
                              uint32_t n_tokens_max, uint32_t n_spare) {
    WEFT_ASSERT(n_tokens_max <= kv->config.ctx_max);
    WEFT_ASSERT(n_prompt <= n_tokens_max);
    if (kv->n_open == kv->config.seqs_max) {
        return KV_SEQ_NONE;
    }
    kv_seq seq = 0;
    while (kv->slots[seq].is_open) {
        seq++;
    }
    seq_slot *slot = &kv->slots[seq];
    const uint32_t n_pages_max = n_prompt > 0 ? (n_prompt - 1) / PAGE_TOKENS : 0;
    /* The pages shared in a sliding group come on top of the promise; where there is no room for
     * both, the prompt is run from its beginning. */
    if (!try_prefix(kv, slot, units, n_pages_max, n_tokens_max, n_spare) &&
        (n_pages_max == 0 || !try_prefix(kv, slot, units, 0, n_tokens_max, n_spare))) {
        return KV_SEQ_NONE;
    }
    slot->is_open = true;
    slot->n_tokens_max = n_tokens_max;
    kv->n_open++;
    return seq;
}

kv_seq kv_seq_try_open(kv_seqs *kv, uint32_t n_tokens_max) {
    return kv_seq_try_open_prompt(kv, NULL, 0, n_tokens_max, 0);
}

bool kv_seq_try_promise(kv_seqs *kv, kv_seq seq, uint32_t n_tokens_max) {
    seq_slot *slot = slot_of(kv, seq);
    uint32_t more[KV_GROUPS_MAX] = {0};
    WEFT_ASSERT(n_tokens_max >= slot->n_tokens_max);
    WEFT_ASSERT(n_tokens_max <= kv->config.ctx_max);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        more[g] = pages_promised(kv, g, n_tokens_max) - pages_promised(kv, g, slot->n_tokens_max);
    }
    if (!try_reserve(kv, slot, more, 0)) {
        return false;
    }
    slot->n_tokens_max = n_tokens_max;
    return true;
}

uint32_t kv_seq_promised(const kv_seqs *kv, kv_seq seq) { return slot_of(kv, seq)->n_tokens_max; }

kv_prefix kv_seqs_explain(const kv_seqs *kv, const kv_unit *units, uint32_t n_prompt) {
    const uint32_t n_pages_max = (n_prompt - 1) / PAGE_TOKENS;
    uint32_t n_pages = 0;
    kv_node node = find_prefix(kv, units, n_pages_max, &n_pages);
    kv_prefix prefix = {.n_tokens = n_pages * PAGE_TOKENS, .miss_at = n_pages * PAGE_TOKENS};
    if (n_pages == n_pages_max) {
        prefix.miss = KV_MISS_PARTIAL;
        return prefix;
    }
    const kv_unit *rest = units + prefix.n_tokens;
    if (kv_tree_child(kv->tree, node, rest) != KV_NODE_NONE ||
        kv_tree_was_evicted(kv->tree, node, rest)) {
        prefix.miss = KV_MISS_EVICTED; /* the node, or a page that its window needs */
        return prefix;
    }
    const uint32_t alike = kv_tree_alike(kv->tree, node, rest, PAGE_TOKENS);
    const bool is_known = alike > 0 || (n_pages > 0 && !kv_tree_is_leaf(kv->tree, node));
    prefix.miss = is_known ? KV_MISS_DIVERGED : KV_MISS_NEW;
    prefix.miss_at += alike;
    return prefix;
}

/* Page i of the table gives way to the tree's own, which somebody else has run. */
static void adopt_page(kv_seqs *kv, uint32_t g, seq_group *sg, uint32_t i, kv_page page) {
    const bool is_free = kv_pool_release(kv->pools[g], sg->pages[i]);
    WEFT_ASSERT(is_free); /* it was owed, and nobody else's */
    if (kv->config.groups[g].window != 0) {
        const bool is_reserved = kv_pool_try_reserve(kv->pools[g], 1);
        WEFT_ASSERT(is_reserved);
        sg->n_reserved++;
    }
    kv_pool_retain(kv->pools[g], page);
    sg->pages[i] = page;
    sg->is_shared[i] = true;
}

/* Offers page i of every group to its node. */
static void publish_page(kv_seqs *kv, seq_slot *slot, kv_node node, uint32_t i) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        seq_group *sg = &slot->groups[g];
        if (sg->pages[i] == KV_PAGE_NONE) {
            continue;
        }
        const kv_page page = kv_tree_page(kv->tree, node, g);
        if (page != KV_PAGE_NONE) {
            adopt_page(kv, g, sg, i, page);
            continue;
        }
        WEFT_ASSERT(!sg->is_shared[i]);
        if (kv->config.groups[g].window != 0) {
            if (!try_reserve_pages(kv, g, 1)) {
                continue;
            }
            sg->n_reserved++;
        }
        sg->is_shared[i] = true;
        kv_tree_keep(kv->tree, node, g, sg->pages[i]);
    }
}

void kv_seq_publish(kv_seqs *kv, kv_seq seq, const kv_unit *units, uint32_t n_tokens) {
    seq_slot *slot = slot_of(kv, seq);
    WEFT_ASSERT(n_tokens <= slot->n_tokens);
    while ((slot->n_published + 1) * PAGE_TOKENS <= n_tokens) {
        const kv_unit *page_units = units + (size_t)slot->n_published * PAGE_TOKENS;
        kv_node node = kv_tree_child(kv->tree, slot->node, page_units);
        if (node == KV_NODE_NONE) {
            node = kv_tree_add(kv->tree, slot->node, page_units);
        }
        if (node == KV_NODE_NONE) {
            return; /* every node is in use */
        }
        kv_tree_pin(kv->tree, node);
        kv_tree_unpin(kv->tree, slot->node);
        slot->node = node;
        publish_page(kv, slot, node, slot->n_published++);
        kv_tree_touch(kv->tree, node);
    }
}

void kv_seq_close(kv_seqs *kv, kv_seq seq) {
    seq_slot *slot = slot_of(kv, seq);
    kv_tree_touch(kv->tree, slot->node);
    let_go(kv, slot);
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
        const uint32_t first = first_seen(kv->config.groups[g].window, n_past);
        const uint32_t to = first < sg->end ? first : sg->end;
        if (to > sg->first) {
            drop_pages(kv, g, sg, sg->first, to);
            sg->first = to;
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
    uint32_t min = slot->n_published * PAGE_TOKENS;
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

/* The node of page i of these units, KV_NODE_NONE when a page on the way is unknown. */
static kv_node node_at(const kv_seqs *kv, const kv_unit *units, uint32_t i) {
    kv_node node = KV_NODE_ROOT;
    for (uint32_t j = 0; j <= i && node != KV_NODE_NONE; j++) {
        node = kv_tree_child(kv->tree, node, units + (size_t)j * PAGE_TOKENS);
    }
    return node;
}

/* Whether a row after n_pages pages sees page i in this group. */
static bool is_wanted(const kv_seqs *kv, uint32_t g, uint32_t i, uint32_t n_pages) {
    return i >= first_seen(kv->config.groups[g].window, n_pages * PAGE_TOKENS);
}

bool kv_seqs_has_page(const kv_seqs *kv, const kv_unit *units, uint32_t i, uint32_t n_pages) {
    const kv_node node = node_at(kv, units, i);
    bool is_there = node != KV_NODE_NONE;
    for (uint32_t g = 0; g < kv->config.n_groups && is_there; g++) {
        is_there = !is_wanted(kv, g, i, n_pages) || kv_tree_page(kv->tree, node, g) != KV_PAGE_NONE;
    }
    return is_there;
}

bool kv_seqs_try_graft(kv_seqs *kv, const kv_unit *units, uint32_t i, uint32_t n_pages,
                       kv_page out[KV_GROUPS_MAX]) {
    const kv_node parent = i == 0 ? KV_NODE_ROOT : node_at(kv, units, i - 1);
    const kv_unit *own = units + (size_t)i * PAGE_TOKENS;
    if (parent == KV_NODE_NONE) {
        return false;
    }
    kv_tree_touch(kv->tree, parent); /* what comes before it goes last */
    kv_node node = kv_tree_child(kv->tree, parent, own);
    node = node != KV_NODE_NONE ? node : kv_tree_add(kv->tree, parent, own);
    if (node == KV_NODE_NONE) {
        return false;
    }
    kv_tree_pin(kv->tree, node);
    bool is_whole = true;
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        out[g] = KV_PAGE_NONE;
        if (!is_wanted(kv, g, i, n_pages) || kv_tree_page(kv->tree, node, g) != KV_PAGE_NONE) {
            continue;
        }
        is_whole = is_whole && try_reserve_pages(kv, g, 1);
        if (is_whole) {
            out[g] = kv_pool_take(kv->pools[g]);
            kv_tree_keep(kv->tree, node, g, out[g]);
        }
    }
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        if (out[g] != KV_PAGE_NONE) {
            if (!is_whole) {
                kv_tree_forget(kv->tree, node, g);
            }
            kv_pool_release(kv->pools[g], out[g]);
        }
    }
    kv_tree_unpin(kv->tree, node);
    return is_whole;
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

const kv_tree *kv_seqs_tree(const kv_seqs *kv) { return kv->tree; }

uint32_t kv_seqs_open_count(const kv_seqs *kv) { return kv->n_open; }

uint32_t kv_seqs_spare(const kv_seqs *kv, uint32_t group) {
    return kv_pool_available(kv_seqs_pool(kv, group)) + kv_pool_idle(kv->pools[group]);
}

void kv_seqs_forget(kv_seqs *kv) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        while (kv_tree_try_evict(kv->tree, g)) {
        }
    }
}

static void check_group(const kv_seqs *kv, uint32_t g) {
    const kv_pool *pool = kv->pools[g];
    uint64_t n_holds = kv_tree_pages(kv->tree, g), n_holders = 0;
    uint32_t n_reserved = 0;
    kv_pool_check(pool);
    for (uint32_t s = 0; s < kv->config.seqs_max; s++) {
        const seq_slot *slot = &kv->slots[s];
        const seq_group *sg = &slot->groups[g];
        uint32_t n_owed = 0;
        for (uint32_t i = 0; i < kv->table_len; i++) {
            const bool is_held = slot->is_open && i >= sg->first && i < sg->end;
            WEFT_ASSERT(is_held == (sg->pages[i] != KV_PAGE_NONE));
            WEFT_ASSERT(is_held || !sg->is_shared[i]);
            if (is_held) {
                WEFT_ASSERT(sg->is_shared[i] || kv_pool_holders(pool, sg->pages[i]) == 1);
                n_owed += !sg->is_shared[i];
                n_holds++;
            }
        }
        n_reserved += slot->is_open ? sg->n_reserved : 0;
        if (slot->is_open) { /* what is still to come fits into what is set aside */
            const uint32_t window = kv->config.groups[g].window;
            const uint32_t most =
                page_count_group(window, slot->n_tokens_max, kv->config.chunk_max);
            WEFT_ASSERT(window == 0 ? sg->end + sg->n_reserved == most
                                    : n_owed + sg->n_reserved == most);
        }
    }
    for (uint32_t p = 0; p < kv_pool_count(pool); p++) {
        n_holders += kv_pool_holders(pool, p);
    }
    WEFT_ASSERT(n_holds == n_holders);
    WEFT_ASSERT(kv_pool_available(pool) == kv_pool_count(pool) - kv_pool_held(pool) - n_reserved);
}

void kv_seqs_check(const kv_seqs *kv) {
    uint32_t n_open = 0;
    for (uint32_t s = 0; s < kv->config.seqs_max; s++) {
        n_open += kv->slots[s].is_open;
    }
    WEFT_ASSERT(n_open == kv->n_open);
    kv_tree_check(kv->tree);
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        check_group(kv, g);
    }
}

void kv_seqs_shuffle(kv_seqs *kv, uint64_t seed) {
    for (uint32_t g = 0; g < kv->config.n_groups; g++) {
        kv_pool_shuffle(kv->pools[g], seed + g);
    }
}
