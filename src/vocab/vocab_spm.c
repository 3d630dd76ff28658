/* vocab_spm.c - SentencePiece's byte pair encoding: merge whatever makes the best-scored token.
 *
 * There is no merge list. Two neighbours merge when their texts together are a token, and the token
 * with the highest score goes first (Llama 2, Gemma up to 3, Mistral, Phi-3, TinyLlama). Spaces
 * are spelled U+2581, and in some vocabularies one is put before the text. Control, unknown and
 * byte tokens never come out of merging, whatever their text: "</s>" in a text is four characters
 * unless special tokens are asked for.
 *
 * The text is first cut where no token reaches across (vocab_cuts.h), which makes words of it that
 * can be remembered. What is no token in the end becomes its bytes (<0xE2><0x96>...), or the
 * unknown token once for a run of such characters where the vocabulary has no bytes.
 */
#include "base/check.h"
#include "vocab/vocab_impl.h"

typedef struct scored_texts {
    const vocab_table *table;
    const char *text; /* what the symbols' places refer to */
} scored_texts;

static bool encode_cached(vocab_run *run, str part);
static bool encode_part(vocab_run *run, str part, bool has_space_before);
static vocab_pair pair_by_score(const void *context, const vocab_symbol *left,
                                const vocab_symbol *right);
static uint32_t rank_of_score(float score);

bool vocab_spm_encode(vocab_run *run, str text) {
    const vocab *v = run->vocab;
    run->is_after_unknown = false;
    if (v->adds_space && text.len > 0) {
        /* The space is merged together with the first part, whether or not there is a cut between
         * them: a cut that is not made changes nothing. */
        const size_t to = vocab_cuts_next(&v->cuts, text, 0);
        if (!encode_part(run, str_from(text.data, to), true)) {
            return false;
        }
        text = str_from(text.data + to, text.len - to);
    }
    for (size_t at = 0; at < text.len;) {
        const size_t to = vocab_cuts_next(&v->cuts, text, at);
        WEFT_DEBUG_ASSERT(to > at);
        if (!encode_cached(run, str_from(text.data + at, to - at))) {
            return false;
        }
        at = to;
    }
    return true;
}

static bool encode_cached(vocab_run *run, str part) {
    /* Without bytes, what a part becomes may depend on the part before. */
    if (part.len > VOCAB_CACHE_WORD_MAX || !run->vocab->has_all_bytes) {
        return encode_part(run, part, false);
    }
    const vocab_cache_key key = vocab_cache_key_of(part);
    vocab_cache_entry *entry = vocab_cache_place(&run->cache, &key);
    if (vocab_cache_is(entry, &key)) {
        if (!vocab_run_reserve(run, VOCAB_CACHE_IDS_MAX)) {
            return false;
        }
        memcpy(run->out->ids + run->out->count, entry->ids, sizeof entry->ids);
        run->out->count += entry->n_ids;
        return true;
    }
    const size_t before = run->out->count;
    if (!encode_part(run, part, false)) {
        return false;
    }
    vocab_cache_store(entry, &key, run->out->ids + before, run->out->count - before);
    return true;
}

static bool encode_part(vocab_run *run, str part, bool has_space_before) {
    if (!vocab_run_spell(run, part, has_space_before)) {
        return false;
    }
    const scored_texts texts = {&run->vocab->table, run->text};
    return vocab_word_merge(&run->word, pair_by_score, &texts) && vocab_run_emit(run);
}

static vocab_pair pair_by_score(const void *context, const vocab_symbol *left,
                                const vocab_symbol *right) {
    const scored_texts *texts = context;
    const str text = str_from(texts->text + left->from, right->to - left->from);
    const int32_t id = vocab_table_find(texts->table, text);
    const bool is_text =
        id != VOCAB_NONE && (texts->table->attrs[id] & (VOCAB_ATTR_NORMAL | VOCAB_ATTR_USER)) != 0;
    return is_text ? (vocab_pair){rank_of_score(texts->table->scores[id]), id}
                   : (vocab_pair){VOCAB_RANK_NONE, VOCAB_NONE};
}

/* Higher scores get lower ranks: the bits of a float, made to order like an unsigned number. */
static uint32_t rank_of_score(float score) {
    const float plain = score + 0.0f; /* -0 is 0 */
    uint32_t bits;
    memcpy(&bits, &plain, sizeof bits);
    const uint32_t ascending = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return ~ascending;
}
