/* vocab_cache.h - the words of one text that were encoded before.
 *
 * Text repeats itself: nine words of ten have been seen already. A word of at most 16 bytes with at
 * most 11 tokens has one place in a table, by hash; a newcomer takes the place. One cache line an
 * entry, the word's bytes inside it.
 *
 * Threads: none; each encode has its own.
 */
#ifndef WEFT_VOCAB_VOCAB_CACHE_H
#define WEFT_VOCAB_VOCAB_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define VOCAB_CACHE_WORD_MAX 16u
#define VOCAB_CACHE_IDS_MAX 11u

typedef struct vocab_cache_entry {
    uint64_t word[2]; /* first and last eight bytes, overlapping */
    uint16_t len;     /* 0: empty */
    uint16_t n_ids;
    int32_t ids[VOCAB_CACHE_IDS_MAX];
} vocab_cache_entry;

typedef struct vocab_cache {
    vocab_cache_entry *entries;
    size_t mask;
} vocab_cache;

typedef struct vocab_cache_key {
    uint64_t word[2];
    uint16_t len;
} vocab_cache_key;

/* Sized for a text of so many bytes. False when memory is out. */
static inline bool vocab_cache_init(vocab_cache *c, size_t text_bytes) {
    size_t count = 32;
    while (count < 4096 && count < text_bytes / 16) {
        count *= 2;
    }
    c->entries = mem_zalloc(MEM_VOCAB, count, sizeof *c->entries);
    c->mask = count - 1;
    return c->entries != NULL;
}

static inline void vocab_cache_deinit(vocab_cache *c) {
    mem_free(c->entries);
    c->entries = NULL;
}

/* word has 1 to VOCAB_CACHE_WORD_MAX bytes. */
static inline vocab_cache_key vocab_cache_key_of(str word) {
    vocab_cache_key key = {{0, 0}, (uint16_t)word.len};
    if (word.len >= 8) {
        memcpy(&key.word[0], word.data, 8);
        memcpy(&key.word[1], word.data + word.len - 8, 8);
    } else if (word.len >= 4) {
        memcpy(&key.word[0], word.data, 4);
        memcpy(&key.word[1], word.data + word.len - 4, 4);
    } else {
        key.word[0] = (uint64_t)(uint8_t)word.data[0] << 16 |
                      (uint64_t)(uint8_t)word.data[word.len / 2] << 8 |
                      (uint8_t)word.data[word.len - 1];
    }
    return key;
}

/* The place of a word; it holds the word when vocab_cache_is says so. */
static inline vocab_cache_entry *vocab_cache_place(const vocab_cache *c,
                                                   const vocab_cache_key *key) {
    const uint64_t h = (key->word[0] * 0x9E3779B97F4A7C15u ^ key->word[1]) * 0xD6E8FEB86659FD93u;
    return &c->entries[(h >> 40 ^ key->len) & c->mask];
}

static inline bool vocab_cache_is(const vocab_cache_entry *e, const vocab_cache_key *key) {
    return e->len == key->len && e->word[0] == key->word[0] && e->word[1] == key->word[1];
}

static inline void vocab_cache_store(vocab_cache_entry *e, const vocab_cache_key *key,
                                     const int32_t *ids, size_t n_ids) {
    if (n_ids > VOCAB_CACHE_IDS_MAX) {
        return;
    }
    e->word[0] = key->word[0];
    e->word[1] = key->word[1];
    e->len = key->len;
    e->n_ids = (uint16_t)n_ids;
    memcpy(e->ids, ids, n_ids * sizeof *ids);
}

#endif /* WEFT_VOCAB_VOCAB_CACHE_H */
