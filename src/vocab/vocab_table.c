/* vocab_table.c - reading the token list and finding tokens by their text.
 *
 * The texts are copied into one run of bytes whose size is known beforehand (the array's bytes less
 * its length prefixes). The hash table is filled in file order, so that of two equal texts the
 * lower number stays. A slot keeps 32 bits of hash beside the number: a miss rarely touches the
 * texts. Probing is bounded: a file made to collide is refused instead of being slow.
 *
 * Pieces are the same tokens as a decoder emits them. A byte-level token whose text holds a
 * character that stands for no byte is emitted as it is written, as are control, user-defined and
 * unknown tokens.
 */
#include "vocab/vocab_table.h"

#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab.h"

#define TEXTS_BYTES_MAX (1u << 30)
#define PROBES_MAX 4096u

static const char key_tokens[] = "tokenizer.ggml.tokens";
static const char key_scores[] = "tokenizer.ggml.scores";
static const char key_types[] = "tokenizer.ggml.token_type";

static weft_status read_texts(vocab_table *t, const meta_value *tokens, weft_error *err);
static weft_status read_scores(vocab_table *t, const weights *w, weft_error *err);
static weft_status read_types(vocab_table *t, const weights *w, weft_error *err);
static weft_status check_parallel(const meta_value *m, const char *key, meta_type want,
                                  uint32_t count, weft_error *err);
static weft_status fill_pieces(vocab_table *t, vocab_piece_form form, weft_error *err);
static size_t piece_of(const vocab_table *t, int32_t id, vocab_piece_form form, char *out);
static size_t decode_byte_level(str text, char *out);
static size_t decode_metaspace(str text, char *out);
static size_t decode_escaped(str text, char *out);
static int hex_digit(char c);
static uint64_t load_tail(const char *p, size_t n);
static uint64_t mix(uint64_t h, uint64_t word);

static uint8_t tag_of(uint64_t hash) { return (uint8_t)(hash >> 56 | 1); }

weft_status vocab_table_init(vocab_table *t, const weights *w, vocab_piece_form form,
                             weft_error *err) {
    *t = (vocab_table){0};
    const meta_value *tokens = weights_meta(w, key_tokens);
    if (tokens == NULL) {
        return weft_fail(err, WEFT_FORMAT, "%s: metadata key '%s' is missing: no vocabulary",
                         weights_path(w), key_tokens);
    }
    if (tokens->type != META_ARRAY || tokens->elem_type != META_STRING) {
        return weft_fail(err, WEFT_FORMAT,
                         "metadata key '%s': wanted an array of strings, found %s", key_tokens,
                         meta_type_name(tokens->type));
    }
    if (tokens->count == 0 || tokens->count > VOCAB_SIZE_MAX) {
        return weft_fail(err, WEFT_LIMIT, "metadata key '%s': %llu tokens, wanted 1 to %u",
                         key_tokens, (unsigned long long)tokens->count, VOCAB_SIZE_MAX);
    }
    t->count = (uint32_t)tokens->count;
    weft_status status = read_texts(t, tokens, err);
    if (status == WEFT_OK) {
        status = read_scores(t, w, err);
    }
    if (status == WEFT_OK) {
        status = read_types(t, w, err);
    }
    if (status == WEFT_OK) {
        status = vocab_table_index(t, err);
    }
    if (status == WEFT_OK) {
        status = fill_pieces(t, form, err);
    }
    if (status != WEFT_OK) {
        vocab_table_deinit(t);
    }
    return status;
}

void vocab_table_deinit(vocab_table *t) {
    mem_free(t->texts);
    mem_free(t->at);
    mem_free(t->pieces);
    mem_free(t->pieces_at);
    mem_free(t->attrs);
    mem_free(t->scores);
    mem_free(t->slots);
    mem_free(t->tags);
    *t = (vocab_table){0};
}

int32_t vocab_table_find(const vocab_table *t, str text) {
    if (text.len == 0 || text.len > t->token_bytes_max) {
        return VOCAB_NONE;
    }
    const uint64_t hash = vocab_hash(text);
    const uint8_t tag = tag_of(hash);
    for (uint32_t i = (uint32_t)hash & t->slot_mask; t->tags[i] != 0; i = (i + 1) & t->slot_mask) {
        const vocab_slot *slot = &t->slots[i];
        if (t->tags[i] == tag && slot->hash == (uint32_t)hash &&
            str_eq(vocab_table_text(t, slot->id), text)) {
            return slot->id;
        }
    }
    return VOCAB_NONE;
}

/* Each loop's loads do not depend on each other, so the processor overlaps their waiting. */
void vocab_table_find_many(const vocab_table *t, const str *texts, int32_t *ids, size_t n) {
    uint32_t hashes[VOCAB_FIND_MANY_MAX];
    vocab_slot slots[VOCAB_FIND_MANY_MAX];
    uint8_t tags[VOCAB_FIND_MANY_MAX];
    str found[VOCAB_FIND_MANY_MAX];
    WEFT_ASSERT(n <= VOCAB_FIND_MANY_MAX);
    for (size_t i = 0; i < n; i++) {
        hashes[i] = (uint32_t)vocab_hash(texts[i]);
    }
    for (size_t i = 0; i < n; i++) {
        tags[i] = t->tags[hashes[i] & t->slot_mask];
        slots[i] = t->slots[hashes[i] & t->slot_mask];
    }
    for (size_t i = 0; i < n; i++) {
        found[i] = tags[i] == 0 ? (str){0} : vocab_table_text(t, slots[i].id);
    }
    for (size_t i = 0; i < n; i++) {
        const bool is_found =
            slots[i].hash == hashes[i] && found[i].len > 0 && str_eq(found[i], texts[i]);
        ids[i] = is_found ? slots[i].id : vocab_table_find(t, texts[i]);
    }
}

uint64_t vocab_hash(str s) {
    uint64_t h = 0x9E3779B97F4A7C15u ^ s.len;
    const char *p = s.data;
    size_t left = s.len;
    while (left > 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        h = mix(h, word);
        p += 8;
        left -= 8;
    }
    h = mix(h, load_tail(p, left));
    return h ^ h >> 29;
}

uint32_t vocab_byte_to_cp(uint8_t byte) {
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173)) {
        return byte;
    }
    /* The others get 256, 257, ... in their own order: 0..32, 127..160, 173. */
    if (byte <= 32) {
        return 256u + byte;
    }
    return byte == 173 ? 323u : 289u + (byte - 127u);
}

int vocab_cp_to_byte(uint32_t cp) {
    if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 255 && cp != 173)) {
        return (int)cp;
    }
    if (cp < 256 || cp > 323) {
        return -1;
    }
    if (cp <= 288) {
        return (int)cp - 256;
    }
    return cp == 323 ? 173 : (int)cp - 289 + 127;
}

int vocab_byte_token_value(str text) {
    if (text.len != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>') {
        return -1;
    }
    int value = 0;
    for (size_t i = 3; i < 5; i++) {
        const int digit = hex_digit(text.data[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static weft_status read_texts(vocab_table *t, const meta_value *tokens, weft_error *err) {
    /* Every string is preceded by its length in eight bytes. */
    const uint64_t texts_bytes = tokens->n_bytes - 8 * tokens->count;
    if (tokens->n_bytes < 8 * tokens->count || texts_bytes > TEXTS_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "metadata key '%s': %llu bytes, at most %u are taken",
                         key_tokens, (unsigned long long)tokens->n_bytes, TEXTS_BYTES_MAX);
    }
    t->texts = mem_alloc(MEM_VOCAB, (size_t)texts_bytes);
    t->at = mem_array(MEM_VOCAB, (size_t)t->count + 1, sizeof *t->at);
    if (t->texts == NULL || t->at == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the texts of %u tokens", t->count);
    }
    uint64_t cursor = 0;
    uint32_t used = 0;
    str text;
    for (uint32_t id = 0; id < t->count; id++) {
        if (!meta_next_str(tokens, &cursor, &text) || text.len > texts_bytes - used) {
            return weft_fail(err, WEFT_FORMAT, "metadata key '%s': token %u cannot be read",
                             key_tokens, id);
        }
        if (text.len > VOCAB_TOKEN_BYTES_MAX) {
            return weft_fail(err, WEFT_LIMIT, "token %u has %zu bytes, at most %u are taken", id,
                             text.len, VOCAB_TOKEN_BYTES_MAX);
        }
        if (text.len > 0) {
            memcpy(t->texts + used, text.data, text.len);
        }
        t->at[id] = used;
        used += (uint32_t)text.len;
        if (text.len > t->token_bytes_max) {
            t->token_bytes_max = (uint32_t)text.len;
        }
    }
    t->at[t->count] = used;
    return WEFT_OK;
}

static weft_status read_scores(vocab_table *t, const weights *w, weft_error *err) {
    t->scores = mem_zalloc(MEM_VOCAB, t->count, sizeof *t->scores);
    if (t->scores == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the scores of %u tokens", t->count);
    }
    const meta_value *scores = weights_meta(w, key_scores);
    if (scores == NULL) {
        return WEFT_OK;
    }
    const weft_status status = check_parallel(scores, key_scores, META_F32, t->count, err);
    if (status != WEFT_OK) {
        return status;
    }
    for (uint32_t id = 0; id < t->count; id++) {
        double score = 0;
        if (!meta_as_f64(scores, id, &score) || score != score) {
            return weft_fail(err, WEFT_FORMAT, "metadata key '%s': score of token %u is no number",
                             key_scores, id);
        }
        t->scores[id] = (float)score;
    }
    return WEFT_OK;
}

static weft_status read_types(vocab_table *t, const weights *w, weft_error *err) {
    /* The numbers of GGUF's token types, 0 being undefined. */
    static const uint16_t attr_of_type[] = {
        VOCAB_ATTR_NORMAL, VOCAB_ATTR_NORMAL, VOCAB_ATTR_UNKNOWN, VOCAB_ATTR_CONTROL,
        VOCAB_ATTR_USER,   VOCAB_ATTR_UNUSED, VOCAB_ATTR_BYTE};
    t->attrs = mem_array(MEM_VOCAB, t->count, sizeof *t->attrs);
    if (t->attrs == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the types of %u tokens", t->count);
    }
    const meta_value *types = weights_meta(w, key_types);
    if (types != NULL) {
        const weft_status status = check_parallel(types, key_types, META_I32, t->count, err);
        if (status != WEFT_OK) {
            return status;
        }
    }
    for (uint32_t id = 0; id < t->count; id++) {
        int64_t type = 1;
        if (types != NULL && (!meta_as_i64(types, id, &type) || type < 0 ||
                              (size_t)type >= WEFT_LEN(attr_of_type))) {
            return weft_fail(err, WEFT_FORMAT,
                             "metadata key '%s': token %u has type %lld, wanted 0 to 6", key_types,
                             id, (long long)type);
        }
        t->attrs[id] = attr_of_type[type];
    }
    return WEFT_OK;
}

/* An array with one number a token. Integer scores are taken where floats are wanted. */
static weft_status check_parallel(const meta_value *m, const char *key, meta_type want,
                                  uint32_t count, weft_error *err) {
    const bool is_right = m->type == META_ARRAY &&
                          (m->elem_type == want || (m->elem_type == META_I32 && want == META_F32) ||
                           (m->elem_type == META_U32 && want == META_I32));
    if (!is_right) {
        return weft_fail(err, WEFT_FORMAT,
                         "metadata key '%s': wanted an array of %s, found %s of %s", key,
                         meta_type_name(want), meta_type_name(m->type),
                         m->type == META_ARRAY ? meta_type_name(m->elem_type) : "one value");
    }
    if (m->count < count) {
        return weft_fail(err, WEFT_FORMAT, "metadata key '%s': %llu entries for %u tokens", key,
                         (unsigned long long)m->count, count);
    }
    return WEFT_OK;
}

weft_status vocab_table_index(vocab_table *t, weft_error *err) {
    uint32_t capacity = 16;
    while (capacity < t->count * 2) {
        capacity *= 2;
    }
    t->slots = mem_array(MEM_VOCAB, capacity, sizeof *t->slots);
    t->tags = mem_zalloc(MEM_VOCAB, capacity, 1);
    if (t->slots == NULL || t->tags == NULL) {
        return weft_fail(err, WEFT_NOMEM, "no memory to find %u tokens by text", t->count);
    }
    t->slot_mask = capacity - 1;
    for (uint32_t id = 0; id < t->count; id++) {
        const str text = vocab_table_text(t, (int32_t)id);
        if (text.len == 0) {
            continue;
        }
        const uint64_t hash = vocab_hash(text);
        uint32_t at = (uint32_t)hash & t->slot_mask;
        uint32_t probes = 0;
        while (t->tags[at] != 0) {
            const vocab_slot *slot = &t->slots[at];
            if (slot->hash == (uint32_t)hash && str_eq(vocab_table_text(t, slot->id), text)) {
                break;
            }
            if (++probes > PROBES_MAX) {
                return weft_fail(err, WEFT_LIMIT, "metadata key '%s': texts made to collide",
                                 key_tokens);
            }
            at = (at + 1) & t->slot_mask;
        }
        t->n_equal += t->tags[at] != 0;
        if (t->tags[at] == 0) {
            t->tags[at] = tag_of(hash);
            t->slots[at] = (vocab_slot){(uint32_t)hash, (int32_t)id};
        }
    }
    return WEFT_OK;
}

static weft_status fill_pieces(vocab_table *t, vocab_piece_form form, weft_error *err) {
    /* No form is longer than the text. */
    t->pieces = mem_alloc(MEM_VOCAB, t->at[t->count]);
    t->pieces_at = mem_array(MEM_VOCAB, (size_t)t->count + 1, sizeof *t->pieces_at);
    if (t->pieces == NULL || t->pieces_at == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the pieces of %u tokens", t->count);
    }
    uint32_t used = 0;
    for (uint32_t id = 0; id < t->count; id++) {
        t->pieces_at[id] = used;
        used += (uint32_t)piece_of(t, (int32_t)id, form, t->pieces + used);
        WEFT_DEBUG_ASSERT(used <= t->at[id + 1]);
    }
    t->pieces_at[t->count] = used;
    return WEFT_OK;
}

/* Writes at most the token's text length. */
static size_t piece_of(const vocab_table *t, int32_t id, vocab_piece_form form, char *out) {
    const str text = vocab_table_text(t, id);
    if (text.len == 0) {
        return 0;
    }
    const uint16_t attrs = t->attrs[id];
    if ((attrs & VOCAB_ATTR_BYTE) != 0 && vocab_byte_token_value(text) >= 0) {
        out[0] = (char)vocab_byte_token_value(text);
        return 1;
    }
    if ((attrs & VOCAB_ATTR_NORMAL) != 0 && form != VOCAB_PIECES_PLAIN) {
        const size_t n = form == VOCAB_PIECES_BYTE_LEVEL  ? decode_byte_level(text, out)
                         : form == VOCAB_PIECES_METASPACE ? decode_metaspace(text, out)
                                                          : decode_escaped(text, out);
        if (n > 0) {
            return n;
        }
    }
    memcpy(out, text.data, text.len);
    return text.len;
}

/* 0 when some character stands for no byte. */
static size_t decode_byte_level(str text, char *out) {
    size_t written = 0;
    for (size_t at = 0, n = 0; at < text.len; at += n) {
        const uint32_t cp = utf8_decode(str_slice(text, at, text.len), &n);
        const int byte = vocab_cp_to_byte(cp);
        if (byte < 0) {
            return 0;
        }
        out[written++] = (char)byte;
    }
    return written;
}

static size_t decode_metaspace(str text, char *out) {
    static const str metaspace = {"\xE2\x96\x81", 3};
    size_t written = 0;
    for (size_t at = 0; at < text.len;) {
        if (text.len - at >= metaspace.len &&
            memcmp(text.data + at, metaspace.data, metaspace.len) == 0) {
            out[written++] = ' ';
            at += metaspace.len;
        } else {
            out[written++] = text.data[at++];
        }
    }
    return written;
}

/* 0 when an escape is not finished. */
static size_t decode_escaped(str text, char *out) {
    size_t written = 0;
    for (size_t at = 0; at < text.len; at++) {
        char c = text.data[at];
        if (c == '\\') {
            if (++at == text.len) {
                return 0;
            }
            c = text.data[at];
            if (c == 'x') {
                const int high = at + 2 < text.len ? hex_digit(text.data[at + 1]) : -1;
                const int low = high < 0 ? -1 : hex_digit(text.data[at + 2]);
                if (low < 0) {
                    return 0;
                }
                c = (char)(high * 16 + low);
                at += 2;
            } else {
                c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
            }
        }
        out[written++] = c;
    }
    return written;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint64_t load_tail(const char *p, size_t n) {
    uint64_t word = 0;
    if (n >= 4) {
        uint32_t low;
        uint32_t high;
        memcpy(&low, p, sizeof low);
        memcpy(&high, p + n - 4, sizeof high);
        return (uint64_t)high << 32 | low;
    }
    for (size_t i = 0; i < n; i++) {
        word = word << 8 | (uint8_t)p[i];
    }
    return word;
}

static uint64_t mix(uint64_t h, uint64_t word) {
    h = (h ^ word) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}
