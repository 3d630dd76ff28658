/* kv_tree.c - nodes in one array, children in one hash table, a list by last use for every group.
 *
 * There are as many nodes as the largest pool has pages, made once: adding a node allocates
 * nothing. A node is in group g's list exactly while it names a page of g; the list's head is the
 * page that was used longest ago. A node that names no page and that nobody needs (no child, no
 * pin) is removed at once, and perhaps its parent after it.
 *
 * A node's path is a hash of all units from the root to it: its place in the table of children, and
 * what remains of it among the ghosts, a table of paths that each newcomer overwrites in part.
 */
#include "kv/kv_tree.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define GHOSTS_A_BUCKET 8u /* so that what does not fit the pool many times over is remembered */

typedef struct link {
    kv_node older, newer; /* KV_NODE_NONE at the ends */
} link;

typedef struct node {
    kv_unit units[PAGE_TOKENS];
    uint64_t path;
    kv_node parent;
    kv_node next;         /* in its bucket, or among the free */
    kv_node child;        /* the newest, KV_NODE_NONE without */
    kv_node older, newer; /* children of the same parent */
    uint32_t n_uses;      /* children and pins */
    kv_page pages[KV_GROUPS_MAX];
    link links[KV_GROUPS_MAX];
} node;

struct kv_tree {
    kv_tree_config config;
    node *nodes; /* [capacity] */
    uint32_t capacity, count;
    kv_node free;
    kv_node *buckets; /* [bucket_mask + 1] */
    uint64_t *ghosts; /* [ghost_mask + 1] paths of removed nodes */
    kv_node root_child;
    uint32_t bucket_mask, ghost_mask;
    kv_node oldest[KV_GROUPS_MAX], newest[KV_GROUPS_MAX];
    uint32_t n_pages[KV_GROUPS_MAX];
};

weft_status kv_tree_create(kv_tree **out, const kv_tree_config *config, weft_error *err) {
    kv_tree *t = mem_zalloc(MEM_KV, 1, sizeof *t);
    uint32_t n_buckets = 16;
    if (t != NULL) {
        t->config = *config;
        for (uint32_t g = 0; g < config->n_groups; g++) {
            const uint32_t n = kv_pool_count(config->pools[g]);
            t->capacity = n > t->capacity ? n : t->capacity;
            t->oldest[g] = t->newest[g] = KV_NODE_NONE;
        }
        while (n_buckets < t->capacity) {
            n_buckets *= 2;
        }
        t->nodes = mem_array(MEM_KV, t->capacity, sizeof *t->nodes);
        t->buckets = mem_array(MEM_KV, n_buckets, sizeof *t->buckets);
        t->ghosts = mem_zalloc(MEM_KV, n_buckets * GHOSTS_A_BUCKET, sizeof *t->ghosts);
    }
    if (t == NULL || t->nodes == NULL || t->buckets == NULL || t->ghosts == NULL) {
        kv_tree_destroy(&t);
        return weft_fail(err, WEFT_NOMEM, "out of memory for a tree of KV pages");
    }
    t->bucket_mask = n_buckets - 1;
    t->ghost_mask = n_buckets * GHOSTS_A_BUCKET - 1;
    memset(t->buckets, 0xff, n_buckets * sizeof *t->buckets); /* KV_NODE_NONE */
    t->free = t->root_child = KV_NODE_NONE;
    for (uint32_t i = t->capacity; i-- > 0;) {
        t->nodes[i].next = t->free;
        t->nodes[i].parent = KV_NODE_NONE;
        t->free = i;
    }
    *out = t;
    return WEFT_OK;
}

void kv_tree_destroy(kv_tree **tree) {
    kv_tree *t = *tree;
    if (t == NULL) {
        return;
    }
    for (uint32_t g = 0; g < t->config.n_groups && t->nodes != NULL && t->buckets != NULL; g++) {
        for (kv_node n = t->oldest[g]; n != KV_NODE_NONE; n = t->nodes[n].links[g].newer) {
            kv_pool_unkeep(t->config.pools[g], t->nodes[n].pages[g]);
        }
    }
    mem_free(t->nodes);
    mem_free(t->buckets);
    mem_free(t->ghosts);
    mem_free(t);
    *tree = NULL;
}

/* ---- children ---- */

static uint64_t path_of(const kv_tree *t, kv_node parent, const kv_unit *units) {
    uint64_t h = parent == KV_NODE_ROOT ? t->config.seed : t->nodes[parent].path;
    for (uint32_t i = 0; i < PAGE_TOKENS; i++) {
        h = (h ^ units[i]) * 0x9E3779B97F4A7C15u; /* 2^64 over the golden ratio, after Knuth */
        h ^= h >> 32;
    }
    return h;
}

static kv_node *child_of(kv_tree *t, kv_node parent) {
    return parent == KV_NODE_ROOT ? &t->root_child : &t->nodes[parent].child;
}

kv_node kv_tree_child(const kv_tree *t, kv_node parent, const kv_unit *units) {
    kv_node n = t->buckets[path_of(t, parent, units) & t->bucket_mask];
    while (n != KV_NODE_NONE && (t->nodes[n].parent != parent ||
                                 memcmp(t->nodes[n].units, units, sizeof t->nodes[n].units) != 0)) {
        n = t->nodes[n].next;
    }
    return n;
}

kv_node kv_tree_add(kv_tree *t, kv_node parent, const kv_unit *units) {
    WEFT_ASSERT(kv_tree_child(t, parent, units) == KV_NODE_NONE);
    kv_tree_pin(t, parent); /* it must outlive the eviction, and becomes the child's use of it */
    for (uint32_t g = 0; t->free == KV_NODE_NONE && g < t->config.n_groups;) {
        if (!kv_tree_try_evict(t, g)) {
            g++;
        }
    }
    if (t->free == KV_NODE_NONE) {
        kv_tree_unpin(t, parent);
        return KV_NODE_NONE;
    }
    const kv_node n = t->free;
    node *x = &t->nodes[n];
    t->free = x->next;
    t->count++;
    x->path = path_of(t, parent, units);
    kv_node *bucket = &t->buckets[x->path & t->bucket_mask];
    uint64_t *ghost = &t->ghosts[x->path & t->ghost_mask];
    *ghost = *ghost == x->path ? 0 : *ghost;
    memcpy(x->units, units, sizeof x->units);
    x->parent = parent;
    x->next = *bucket;
    x->child = x->newer = KV_NODE_NONE;
    x->older = *child_of(t, parent);
    *child_of(t, parent) = n;
    if (x->older != KV_NODE_NONE) {
        t->nodes[x->older].newer = n;
    }
    x->n_uses = 0;
    for (uint32_t g = 0; g < KV_GROUPS_MAX; g++) {
        x->pages[g] = KV_PAGE_NONE;
    }
    *bucket = n;
    return n;
}

/* Removes the node if nothing needs it, then its parent, and so on. */
static void prune(kv_tree *t, kv_node n) {
    while (n != KV_NODE_ROOT) {
        node *x = &t->nodes[n];
        for (uint32_t g = 0; g < t->config.n_groups; g++) {
            if (x->pages[g] != KV_PAGE_NONE) {
                return;
            }
        }
        if (x->n_uses > 0) {
            return;
        }
        kv_node *at = &t->buckets[x->path & t->bucket_mask];
        while (*at != n) {
            at = &t->nodes[*at].next;
        }
        *at = x->next;
        t->ghosts[x->path & t->ghost_mask] = x->path;
        *(x->newer == KV_NODE_NONE ? child_of(t, x->parent) : &t->nodes[x->newer].older) = x->older;
        if (x->older != KV_NODE_NONE) {
            t->nodes[x->older].newer = x->newer;
        }
        const kv_node parent = x->parent;
        x->parent = KV_NODE_NONE;
        x->next = t->free;
        t->free = n;
        t->count--;
        if (parent != KV_NODE_ROOT) {
            t->nodes[parent].n_uses--;
        }
        n = parent;
    }
}

kv_node kv_tree_parent(const kv_tree *t, kv_node n) {
    WEFT_ASSERT(n < t->capacity);
    return t->nodes[n].parent;
}

bool kv_tree_was_evicted(const kv_tree *t, kv_node parent, const kv_unit *units) {
    const uint64_t path = path_of(t, parent, units);
    return t->ghosts[path & t->ghost_mask] == path;
}

uint32_t kv_tree_alike(const kv_tree *t, kv_node parent, const kv_unit *units, uint32_t n_units) {
    kv_node n = parent == KV_NODE_ROOT ? t->root_child : t->nodes[parent].child;
    uint32_t most = 0;
    for (uint32_t i = 0; i < KV_TREE_LOOKED_AT && n != KV_NODE_NONE; i++) {
        uint32_t alike = 0;
        while (alike < n_units && t->nodes[n].units[alike] == units[alike]) {
            alike++;
        }
        most = alike > most ? alike : most;
        n = t->nodes[n].older;
    }
    return most;
}

bool kv_tree_is_leaf(const kv_tree *t, kv_node n) {
    return (n == KV_NODE_ROOT ? t->root_child : t->nodes[n].child) == KV_NODE_NONE;
}

/* ---- pages and their order ---- */

static void unlink_page(kv_tree *t, kv_node n, uint32_t g) {
    const link l = t->nodes[n].links[g];
    *(l.older == KV_NODE_NONE ? &t->oldest[g] : &t->nodes[l.older].links[g].newer) = l.newer;
    *(l.newer == KV_NODE_NONE ? &t->newest[g] : &t->nodes[l.newer].links[g].older) = l.older;
}

static void link_newest(kv_tree *t, kv_node n, uint32_t g) {
    t->nodes[n].links[g] = (link){.older = t->newest[g], .newer = KV_NODE_NONE};
    *(t->newest[g] == KV_NODE_NONE ? &t->oldest[g] : &t->nodes[t->newest[g]].links[g].newer) = n;
    t->newest[g] = n;
}

kv_page kv_tree_page(const kv_tree *t, kv_node n, uint32_t g) {
    WEFT_ASSERT(n < t->capacity);
    return t->nodes[n].pages[g];
}

void kv_tree_keep(kv_tree *t, kv_node n, uint32_t g, kv_page page) {
    WEFT_ASSERT(t->nodes[n].pages[g] == KV_PAGE_NONE);
    kv_pool_keep(t->config.pools[g], page);
    t->nodes[n].pages[g] = page;
    t->n_pages[g]++;
    link_newest(t, n, g);
}

void kv_tree_pin(kv_tree *t, kv_node n) {
    if (n != KV_NODE_ROOT) {
        t->nodes[n].n_uses++;
    }
}

void kv_tree_unpin(kv_tree *t, kv_node n) {
    if (n != KV_NODE_ROOT) {
        WEFT_ASSERT(t->nodes[n].n_uses > 0);
        t->nodes[n].n_uses--;
        prune(t, n);
    }
}

void kv_tree_touch(kv_tree *t, kv_node n) {
    for (; n != KV_NODE_ROOT; n = t->nodes[n].parent) {
        for (uint32_t g = 0; g < t->config.n_groups; g++) {
            if (t->nodes[n].pages[g] != KV_PAGE_NONE) {
                unlink_page(t, n, g);
                link_newest(t, n, g);
            }
        }
    }
}

static void drop_page(kv_tree *t, kv_node n, uint32_t g) {
    unlink_page(t, n, g);
    kv_pool_unkeep(t->config.pools[g], t->nodes[n].pages[g]);
    t->nodes[n].pages[g] = KV_PAGE_NONE;
    t->n_pages[g]--;
}

void kv_tree_forget(kv_tree *t, kv_node n, uint32_t g) {
    WEFT_ASSERT(t->nodes[n].pages[g] != KV_PAGE_NONE);
    drop_page(t, n, g);
}

bool kv_tree_try_evict(kv_tree *t, uint32_t group) {
    const bool is_full = !t->config.is_sliding[group];
    kv_node newer = t->oldest[group];
    for (uint32_t left = t->n_pages[group]; left > 0; left--) {
        const kv_node n = newer;
        const node *x = &t->nodes[n];
        newer = x->links[group].newer;
        if (!kv_pool_is_idle(t->config.pools[group], x->pages[group])) {
            unlink_page(t, n, group);
            link_newest(t, n, group);
            continue;
        }
        if (is_full && x->n_uses > 0) {
            continue;
        }
        /* Without its page of a full group a node is of no use to anybody. */
        for (uint32_t g = 0; g < t->config.n_groups; g++) {
            if (g == group || (is_full && x->pages[g] != KV_PAGE_NONE)) {
                drop_page(t, n, g);
            }
        }
        prune(t, n);
        return true;
    }
    return false;
}

/* ---- checks ---- */

uint32_t kv_tree_count(const kv_tree *t) { return t->count; }

uint32_t kv_tree_pages(const kv_tree *t, uint32_t g) { return t->n_pages[g]; }

static void check_list(const kv_tree *t, uint32_t g) {
    kv_node before = KV_NODE_NONE;
    uint32_t n_listed = 0;
    for (kv_node n = t->oldest[g]; n != KV_NODE_NONE; n = t->nodes[n].links[g].newer) {
        WEFT_ASSERT(t->nodes[n].links[g].older == before);
        WEFT_ASSERT(t->nodes[n].pages[g] != KV_PAGE_NONE);
        WEFT_ASSERT(kv_pool_holders(t->config.pools[g], t->nodes[n].pages[g]) > 0);
        before = n;
        n_listed++;
    }
    WEFT_ASSERT(t->newest[g] == before);
    WEFT_ASSERT(t->n_pages[g] == n_listed);
}

void kv_tree_check(const kv_tree *t) {
    uint32_t n_nodes = 0, n_free = 0;
    for (kv_node n = t->free; n != KV_NODE_NONE; n = t->nodes[n].next) {
        n_free++;
    }
    for (kv_node n = 0; n < t->capacity; n++) {
        const node *x = &t->nodes[n];
        if (x->parent == KV_NODE_NONE) {
            continue;
        }
        bool has_page = false;
        n_nodes++;
        for (uint32_t g = 0; g < t->config.n_groups; g++) {
            has_page |= x->pages[g] != KV_PAGE_NONE;
        }
        WEFT_ASSERT(has_page || x->n_uses > 0);
        WEFT_ASSERT(x->parent == KV_NODE_ROOT || t->nodes[x->parent].parent != KV_NODE_NONE);
        WEFT_ASSERT(x->parent == KV_NODE_ROOT || t->nodes[x->parent].n_uses > 0);
        WEFT_ASSERT(kv_tree_child(t, x->parent, x->units) == n);
        WEFT_ASSERT(x->older == KV_NODE_NONE || t->nodes[x->older].newer == n);
        WEFT_ASSERT(x->newer == KV_NODE_NONE || t->nodes[x->newer].older == n);
    }
    WEFT_ASSERT(n_nodes == t->count);
    WEFT_ASSERT(n_free == t->capacity - t->count);
    for (uint32_t g = 0; g < t->config.n_groups; g++) {
        check_list(t, g);
    }
}
