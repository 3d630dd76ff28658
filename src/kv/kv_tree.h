/* kv_tree.h - which pages hold which beginnings of texts, for whoever begins the same way.
 *
 *                 root
 *        units 0..15 │ "You are a helpful..."
 *                  [node]  full: page 17   sliding: -
 *           ┌────────┴────────┐
 *        [node] page 4     [node] page 92          a node: one page of 16 units after its parent
 *           │                  │
 *        [node] page 8, 31   (leaf)
 *
 * A unit is one position's key: a token id, or a hash where the input is no token. A node names a
 * page for every KV group, or KV_PAGE_NONE where that group's page is not kept; the tree is a
 * holder of each. Children are found by hash of (parent, units) and compared in full.
 *
 * Eviction, when a pool is short: the least recently used first; in a full group only leaves, in a
 * sliding one any node's page, never a page that somebody else holds. A node is touched with its
 * ancestors, so children are never younger than their parents. A page found in use on the way is
 * moved to the newest, so that a walk does not pass it again.
 *
 * What was evicted leaves its name behind for a while, so that a miss can be explained.
 *
 * Threads: engine thread only.   Errors: kv_tree_create only.
 */
#ifndef WEFT_KV_KV_TREE_H
#define WEFT_KV_KV_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "kv/kv_pool.h"

#define KV_GROUPS_MAX 4u

typedef struct kv_tree kv_tree;
typedef uint64_t kv_unit;
typedef uint32_t kv_node;
#define KV_NODE_NONE UINT32_MAX
#define KV_NODE_ROOT (UINT32_MAX - 1)

typedef struct kv_tree_config {
    kv_pool *pools[KV_GROUPS_MAX]; /* borrowed */
    bool is_sliding[KV_GROUPS_MAX];
    uint32_t n_groups;
    uint64_t seed; /* of the hash: clients choose the units */
} kv_tree_config;

weft_status kv_tree_create(kv_tree **out, const kv_tree_config *config,
                           weft_error *err) WEFT_NODISCARD;
/* Releases every page. */
void kv_tree_destroy(kv_tree **tree);

/* The child of parent with these PAGE_TOKENS units, KV_NODE_NONE when there is none. */
kv_node kv_tree_child(const kv_tree *tree, kv_node parent, const kv_unit *units);
/* Makes that child, without pages; it must not exist. KV_NODE_NONE when no node can be had. */
kv_node kv_tree_add(kv_tree *tree, kv_node parent, const kv_unit *units);
kv_node kv_tree_parent(const kv_tree *tree, kv_node node);

/* Why there is no such child. */
bool kv_tree_was_evicted(const kv_tree *tree, kv_node parent, const kv_unit *units);
/* The most units, of n_units (at most PAGE_TOKENS), that a child of parent begins with alike. Looks
 * at the KV_TREE_LOOKED_AT children that came last. */
#define KV_TREE_LOOKED_AT 256u
uint32_t kv_tree_alike(const kv_tree *tree, kv_node parent, const kv_unit *units, uint32_t n_units);
bool kv_tree_is_leaf(const kv_tree *tree, kv_node node);

kv_page kv_tree_page(const kv_tree *tree, kv_node node, uint32_t group);
/* The tree becomes a holder of a page that its caller holds; the node had none in this group. */
void kv_tree_keep(kv_tree *tree, kv_node node, uint32_t group, kv_page page);

/* Gives that up again. */
void kv_tree_forget(kv_tree *tree, kv_node node, uint32_t group);

/* A pinned node stays, pages aside. The root may be pinned and touched, without effect. */
void kv_tree_pin(kv_tree *tree, kv_node node);
void kv_tree_unpin(kv_tree *tree, kv_node node);
/* The node and its ancestors were used now. */
void kv_tree_touch(kv_tree *tree, kv_node node);

/* Frees one page of the group. False when everything left is in use. */
bool kv_tree_try_evict(kv_tree *tree, uint32_t group);

uint32_t kv_tree_count(const kv_tree *tree);                 /* nodes */
uint32_t kv_tree_pages(const kv_tree *tree, uint32_t group); /* pages held */
/* Links, counts and order agree. Ends the program when not. */
void kv_tree_check(const kv_tree *tree);

#endif /* WEFT_KV_KV_TREE_H */
