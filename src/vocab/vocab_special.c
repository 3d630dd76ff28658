/* vocab_special.c - leftmost, longest match against a sorted list.
 *
 * Texts with special tokens are mostly text. A bitmap over two bytes says whether any special
 * token starts here at all, and answers no for nearly every position. Where it says yes, the
 * sorted list is narrowed byte by byte, two binary searches each:
 *
 *     text:  <|im_end|>...      depth 0   [<eos>, <pad>, <|im_end|>, <|im_start|>]
 *                               depth 1                 [<|im_end|>, <|im_start|>]
 *                               depth 5                 [<|im_end|>]
 *
 * A text that ends at the current depth sorts first in its range: it is the best match so far
 * and the range goes on without it. No tree, no pointers, a few thousand entries cost nothing.
 */
#include "vocab/vocab_special.h"

#include <stdlib.h>

#include "base/mem.h"
#include "vocab/vocab.h"

typedef struct entry {
    str text;
    int32_t id;
} entry;

typedef struct range {
    uint32_t from;
    uint32_t to;
} range;

static int compare_entries(const void *a, const void *b);
static int32_t longest_at(const vocab_special *s, str text, size_t at);
static range narrow(const vocab_special *s, range r, size_t depth, uint8_t byte);
static uint32_t first_at_least(const vocab_special *s, range r, size_t depth, unsigned byte);

static bool has_bit(const uint64_t *bits, size_t i) { return (bits[i / 64] >> i % 64 & 1) != 0; }

static void set_bit(uint64_t *bits, size_t i) { bits[i / 64] |= (uint64_t)1 << i % 64; }

weft_status vocab_special_init(vocab_special *s, const vocab_table *t, uint32_t attrs,
                               weft_error *err) {
    *s = (vocab_special){.table = t};
    uint32_t count = 0;
    for (uint32_t id = 0; id < t->count; id++) {
        count += (t->attrs[id] & attrs) != 0 && vocab_table_text(t, (int32_t)id).len > 0;
    }
    entry *entries = mem_array(MEM_VOCAB, count, sizeof *entries);
    s->ids = mem_array(MEM_VOCAB, count, sizeof *s->ids);
    if (entries == NULL || s->ids == NULL) {
        mem_free(entries);
        vocab_special_deinit(s);
        return weft_fail(err, WEFT_NOMEM, "out of memory for %u special tokens", count);
    }
    for (uint32_t id = 0; id < t->count; id++) {
        const str text = vocab_table_text(t, (int32_t)id);
        if ((t->attrs[id] & attrs) == 0 || text.len == 0) {
            continue;
        }
        entries[s->count++] = (entry){text, (int32_t)id};
        if (text.len == 1) {
            set_bit(s->singles, (uint8_t)text.data[0]);
        } else {
            set_bit(s->starts, (size_t)(uint8_t)text.data[0] * 256 + (uint8_t)text.data[1]);
        }
    }
    qsort(entries, s->count, sizeof *entries, compare_entries);
    for (uint32_t i = 0; i < s->count; i++) {
        s->ids[i] = entries[i].id;
    }
    mem_free(entries);
    return WEFT_OK;
}

void vocab_special_deinit(vocab_special *s) {
    mem_free(s->ids);
    s->ids = NULL;
    s->count = 0;
}

bool vocab_special_find(const vocab_special *s, str text, size_t from, size_t *match_from,
                        int32_t *id) {
    if (s->count == 0) {
        return false;
    }
    const uint8_t *p = (const uint8_t *)text.data;
    for (size_t at = from; at < text.len; at++) {
        const bool is_start =
            has_bit(s->singles, p[at]) ||
            (at + 1 < text.len && has_bit(s->starts, (size_t)p[at] * 256 + p[at + 1]));
        if (!is_start) {
            continue;
        }
        const int32_t found = longest_at(s, text, at);
        if (found != VOCAB_NONE) {
            *match_from = at;
            *id = found;
            return true;
        }
    }
    return false;
}

/* By text, then by number so that equal texts keep the lower one first. */
static int compare_entries(const void *a, const void *b) {
    const entry *x = a;
    const entry *y = b;
    const int by_text = str_cmp(x->text, y->text);
    return by_text != 0 ? by_text : (x->id > y->id) - (x->id < y->id);
}

static int32_t longest_at(const vocab_special *s, str text, size_t at) {
    int32_t best = VOCAB_NONE;
    range r = {0, s->count};
    for (size_t depth = 0; at + depth < text.len && r.from < r.to; depth++) {
        r = narrow(s, r, depth, (uint8_t)text.data[at + depth]);
        bool is_first = true;
        while (r.from < r.to && vocab_table_text(s->table, s->ids[r.from]).len == depth + 1) {
            if (is_first) {
                best = s->ids[r.from];
                is_first = false;
            }
            r.from++;
        }
    }
    return best;
}

/* All texts of the range agree in their first `depth` bytes and are longer than that. */
static range narrow(const vocab_special *s, range r, size_t depth, uint8_t byte) {
    const uint32_t from = first_at_least(s, r, depth, byte);
    const uint32_t to = first_at_least(s, (range){from, r.to}, depth, byte + 1u);
    return (range){from, to};
}

static uint32_t first_at_least(const vocab_special *s, range r, size_t depth, unsigned byte) {
    while (r.from < r.to) {
        const uint32_t middle = r.from + (r.to - r.from) / 2;
        const str text = vocab_table_text(s->table, s->ids[middle]);
        if ((uint8_t)text.data[depth] < byte) {
            r.from = middle + 1;
        } else {
            r.to = middle;
        }
    }
    return r.from;
}
