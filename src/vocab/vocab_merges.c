/* vocab_merges.c - the merge list of a byte pair encoding as a hash table over token numbers.
 *
 * The file spells merges as texts: "Ġt he". Both parts and the result are looked up once, here, so
 * that encoding compares numbers only. Most files list merges in the order of their results, so
 * the token after the last result is tried before the hash table. Loading is mostly waiting for
 * memory; that saves a third of it, and looking parts up in batches most of the rest.
 *
 * The parts are divided by the first space after the first byte. Converters write a space within a
 * part as its stand-in, so there is no other.
 */
#include "vocab/vocab_merges.h"

#include "base/mem.h"
#include "vocab/vocab.h"

#define PROBES_MAX 4096u

static const char key_merges[] = "tokenizer.ggml.merges";

static bool read_batch(vocab_merges_batch *batch, uint32_t *rank, const meta_value *merges,
                       uint64_t *cursor);
static int32_t find_joined(vocab_merges_batch *b, str left, str right);
static bool add(vocab_merges *m, vocab_merge merge);

weft_status vocab_merges_init(vocab_merges *m, const vocab_table *t, const weights *w,
                              weft_error *err) {
    *m = (vocab_merges){0};
    const meta_value *merges = weights_meta(w, key_merges);
    if (merges == NULL || merges->type != META_ARRAY || merges->elem_type != META_STRING) {
        return weft_fail(err, WEFT_FORMAT, "metadata key '%s': %s, wanted an array of strings",
                         key_merges, merges == NULL ? "missing" : meta_type_name(merges->type));
    }
    const weft_status status = vocab_merges_reserve(m, (size_t)merges->count, err);
    if (status != WEFT_OK) {
        return status;
    }
    vocab_merges_batch batch = {.table = t, .last_id = VOCAB_NONE};
    uint32_t rank = 0;
    uint64_t cursor = 0;
    while (read_batch(&batch, &rank, merges, &cursor)) {
        vocab_merges_batch_look_up(&batch);
        if (!vocab_merges_add_all(m, batch.merges, batch.n)) {
            vocab_merges_deinit(m);
            return weft_fail(err, WEFT_LIMIT, "metadata key '%s': merges made to collide",
                             key_merges);
        }
    }
    return WEFT_OK;
}

weft_status vocab_merges_reserve(vocab_merges *m, size_t count, weft_error *err) {
    *m = (vocab_merges){0};
    if (count > VOCAB_MERGES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "%zu merges, at most %u are taken", count,
                         VOCAB_MERGES_MAX);
    }
    uint32_t capacity = 16;
    while (capacity < (uint32_t)count * 3 / 2) {
        capacity *= 2;
    }
    m->slots = mem_array(MEM_VOCAB, capacity, sizeof *m->slots);
    m->tags = mem_zalloc(MEM_VOCAB, capacity, 1);
    if (m->slots == NULL || m->tags == NULL) {
        vocab_merges_deinit(m);
        return weft_fail(err, WEFT_NOMEM, "out of memory for %zu merges", count);
    }
    m->slot_mask = capacity - 1;
    return WEFT_OK;
}

void vocab_merges_deinit(vocab_merges *m) {
    mem_free(m->slots);
    mem_free(m->tags);
    *m = (vocab_merges){0};
}

/* The places of a few merges are fetched before the first of them is written. */
bool vocab_merges_add_all(vocab_merges *m, const vocab_merge *merges, size_t count) {
    enum { AHEAD = 16 };
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count) {
            const vocab_merge *next = &merges[i + AHEAD];
            const uint32_t at = (uint32_t)vocab_merges_hash(next->left, next->right) & m->slot_mask;
            WEFT_PREFETCH(&m->tags[at]);
            WEFT_PREFETCH(&m->slots[at]);
        }
        if (merges[i].id != VOCAB_NONE && !add(m, merges[i])) {
            return false;
        }
    }
    return true;
}

void vocab_merges_batch_look_up(vocab_merges_batch *b) {
    int32_t ids[VOCAB_MERGES_BATCH * 2];
    vocab_table_find_many(b->table, b->parts, ids, b->n * 2);
    for (size_t i = 0; i < b->n; i++) {
        vocab_merge *merge = &b->merges[i];
        merge->left = ids[i * 2];
        merge->right = ids[i * 2 + 1];
        const bool has_parts = merge->left != VOCAB_NONE && merge->right != VOCAB_NONE;
        merge->id = has_parts ? find_joined(b, b->parts[i * 2], b->parts[i * 2 + 1]) : VOCAB_NONE;
    }
}

/* Splits the next texts into their parts. False at the end of the list. */
static bool read_batch(vocab_merges_batch *batch, uint32_t *rank, const meta_value *merges,
                       uint64_t *cursor) {
    batch->n = 0;
    str text;
    bool is_any = false;
    bool is_full = false;
    while (!is_full && meta_next_str(merges, cursor, &text)) {
        is_any = true;
        const size_t space = str_find(text, STR_LIT(" "), 1);
        if (space != SIZE_MAX) {
            batch->merges[batch->n].rank = *rank;
            is_full = vocab_merges_batch_push(batch, str_slice(text, 0, space),
                                              str_slice(text, space + 1, text.len));
        }
        ++*rank;
    }
    return is_any;
}

static int32_t find_joined(vocab_merges_batch *b, str left, str right) {
    const vocab_table *t = b->table;
    right = str_slice(right, b->prefix_bytes, right.len);
    const size_t len = left.len + right.len;
    if (len > t->token_bytes_max) {
        return VOCAB_NONE;
    }
    const int32_t guess = b->last_id + 1;
    if ((uint32_t)guess < t->count && len > 0) {
        const str text = vocab_table_text(t, guess);
        if (text.len == len && memcmp(text.data, left.data, left.len) == 0 &&
            memcmp(text.data + left.len, right.data, right.len) == 0) {
            b->last_id = guess;
            return guess;
        }
    }
    char joined[VOCAB_TOKEN_BYTES_MAX];
    memcpy(joined, left.data, left.len);
    memcpy(joined + left.len, right.data, right.len);
    const int32_t id = vocab_table_find(t, str_from(joined, len));
    if (id != VOCAB_NONE) {
        b->last_id = id;
    }
    return id;
}

/* The first of two equal merges stays. False when the table was made to collide. */
static bool add(vocab_merges *m, vocab_merge merge) {
    const uint64_t hash = vocab_merges_hash(merge.left, merge.right);
    uint32_t at = (uint32_t)hash & m->slot_mask;
    for (uint32_t probes = 0; probes < PROBES_MAX; probes++) {
        vocab_merge *slot = &m->slots[at];
        if (m->tags[at] == 0) {
            *slot = merge;
            m->tags[at] = vocab_merges_tag(hash);
            m->count++;
            return true;
        }
        if (slot->left == merge.left && slot->right == merge.right) {
            return true;
        }
        at = (at + 1) & m->slot_mask;
    }
    return false;
}
