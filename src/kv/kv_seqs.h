/* kv_seqs.h - which pages hold which positions of which sequence.
 *
 *   sequence 3, group 0 (full)      positions 0..15 16..31 32..47      table: 17  4 92
 *   sequence 3, group 1 (sliding)   only the window is kept            table:  -  - 31
 *
 * A sequence is a slot in [0, seqs_max) with one block table per KV group. It is promised a length
 * when it is opened, and its pages are reserved (page_count_group of layout/page.h): growing within
 * the promise never fails, a longer promise may be refused. Sliding groups give back the pages that
 * fall out of the window.
 *
 * Whole pages can be published: they enter the prefix tree (kv_tree.h), and a sequence that begins
 * with the same units is opened on them. What only the tree holds is evicted when pages are short.
 *
 * Threads: engine thread only.   Errors: kv_seqs_create only.
 */
#ifndef WEFT_KV_KV_SEQS_H
#define WEFT_KV_KV_SEQS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "kv/kv_pool.h"
#include "kv/kv_tree.h"

#define KV_SEQ_NONE UINT32_MAX

typedef struct kv_group_config {
    uint32_t n_pages; /* of this group's pool */
    uint32_t window;  /* 0 = full: every position is kept */
} kv_group_config;

typedef struct kv_config {
    uint32_t n_groups;
    kv_group_config groups[KV_GROUPS_MAX];
    uint32_t seqs_max;
    uint32_t ctx_max;   /* positions of one sequence */
    uint32_t chunk_max; /* positions added by one grow */
} kv_config;

typedef struct kv_seqs kv_seqs;
typedef uint32_t kv_seq;

weft_status kv_seqs_create(kv_seqs **out, const kv_config *config, weft_error *err) WEFT_NODISCARD;
void kv_seqs_destroy(kv_seqs **kv);

/* Opens a sequence and promises it n_tokens_max positions, or refuses (KV_SEQ_NONE) when a slot or
 * the pages are missing. */
kv_seq kv_seq_try_open(kv_seqs *kv, uint32_t n_tokens_max);
/* The same, on the longest published prefix of the prompt that leaves at least one position to
 * run; kv_seq_tokens tells its length. Refuses as well where fewer than n_spare pages of a full
 * group would be left for others. units: [n_prompt], read now only. */
kv_seq kv_seq_try_open_prompt(kv_seqs *kv, const kv_unit *units, uint32_t n_prompt,
                              uint32_t n_tokens_max, uint32_t n_spare);
/* Promises it n_tokens_max positions, not fewer than now, or leaves the promise as it is. */
bool kv_seq_try_promise(kv_seqs *kv, kv_seq seq, uint32_t n_tokens_max);
uint32_t kv_seq_promised(const kv_seqs *kv, kv_seq seq);

/* What the cache knows of a prompt, and why it knows no more. */
typedef enum kv_miss {
    KV_MISS_NEW,      /* nothing known goes on from there */
    KV_MISS_DIVERGED, /* a known text is the same up to miss_at and then another */
    KV_MISS_EVICTED,  /* it was known, and has made room for others */
    KV_MISS_PARTIAL,  /* less than a page is left */
} kv_miss;

typedef struct kv_prefix {
    uint32_t n_tokens; /* what kv_seq_try_open_prompt would begin after, space permitting */
    uint32_t miss_at;  /* the first position not known, at least n_tokens */
    kv_miss miss;
} kv_prefix;
kv_prefix kv_seqs_explain(const kv_seqs *kv, const kv_unit *units, uint32_t n_prompt);

/* For pages that come from elsewhere, page by page from the beginning of a text. has: page i of
 * these units is kept wherever it is wanted to go on after n_pages pages. try_graft makes it so:
 * out names, group by group, the pages that the caller must fill before anybody opens on them,
 * KV_PAGE_NONE where there is nothing to do. Refuses when there is no room, or pages before it are
 * missing. */
bool kv_seqs_has_page(const kv_seqs *kv, const kv_unit *units, uint32_t i, uint32_t n_pages);
bool kv_seqs_try_graft(kv_seqs *kv, const kv_unit *units, uint32_t i, uint32_t n_pages,
                       kv_page out[KV_GROUPS_MAX]);

/* Publishes the whole pages of the first n_tokens positions, all of which were run. units:
 * [n_tokens], the same at every call. What is published can no longer be cut. */
void kv_seq_publish(kv_seqs *kv, kv_seq seq, const kv_unit *units, uint32_t n_tokens);
void kv_seq_close(kv_seqs *kv, kv_seq seq);

/* Drops the pages of sliding groups that no position from n_past on (the first row of the coming
 * step) can see, then makes positions up to n_tokens writable. n_tokens - n_past <= chunk_max. */
void kv_seq_grow(kv_seqs *kv, kv_seq seq, uint32_t n_past, uint32_t n_tokens);

/* Forgets positions from n_tokens on. What a sliding group has already dropped stays dropped:
 * n_tokens must be at least kv_seq_cut_min. */
void kv_seq_cut(kv_seqs *kv, kv_seq seq, uint32_t n_tokens);
uint32_t kv_seq_cut_min(const kv_seqs *kv, kv_seq seq);

uint32_t kv_seq_tokens(const kv_seqs *kv, kv_seq seq);
/* The block table, [ctx_max / 16 rounded up], valid until the next change of the sequence. Entries
 * that hold nothing are KV_PAGE_NONE. */
const kv_page *kv_seq_pages(const kv_seqs *kv, kv_seq seq, uint32_t group);

const kv_pool *kv_seqs_pool(const kv_seqs *kv, uint32_t group);
const kv_tree *kv_seqs_tree(const kv_seqs *kv);
uint32_t kv_seqs_open_count(const kv_seqs *kv);
/* Pages of a group that can still be promised: free, or the tree's alone. */
uint32_t kv_seqs_spare(const kv_seqs *kv, uint32_t group);
/* Evicts everything that only the tree holds. */
void kv_seqs_forget(kv_seqs *kv);

/* Every held page stands in exactly as many tables as it has holders; reservations add up. */
void kv_seqs_check(const kv_seqs *kv);
void kv_seqs_shuffle(kv_seqs *kv, uint64_t seed); /* for tests, see kv_pool_shuffle */

#endif /* WEFT_KV_KV_SEQS_H */
