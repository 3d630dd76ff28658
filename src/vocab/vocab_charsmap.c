/* vocab_charsmap.c - the double array of a compiled normaliser, read without trusting it.
 *
 * The value of the metadata key, and of a tokenizer.json behind base64, is
 *
 *     u32 size | size bytes of units, u32 each | strings, each ended by a NUL
 *
 * A unit packs four things: bits 0-7 the byte that leads to it (bit 31 says that it is a value
 * instead), bit 8 whether a key ends here, bits 10-30 the way to its children, and bit 9 whether
 * that way is counted in 256s. The child by byte c of the node at i lies at i ^ way(i) ^ c and is
 * one only if its own byte is c. Where a key ends, the unit at i ^ way(i) holds the place of its
 * string.
 *
 * Every index is checked where it is used: one that leaves the array ends the walk, as if there
 * were no such key. A walk is no longer than VOCAB_CHARSMAP_KEY_MAX, so that an array whose ways
 * run in a circle costs no more than a long key.
 */
#include "vocab/vocab_charsmap.h"

#include "base/mem.h"

static const char key_charsmap[] = "tokenizer.ggml.precompiled_charsmap";

static weft_status check_strings(str strings, const char *name, weft_error *err);

static size_t find(const vocab_charsmap *c, str text, bool is_shortest, str *replacement);

static uint32_t read_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t way_of(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }

static uint32_t label_of(uint32_t unit) { return unit & (1u << 31 | 0xFFu); }

weft_status vocab_charsmap_init(vocab_charsmap *c, const weights *w, weft_error *err) {
    *c = (vocab_charsmap){0};
    const meta_value *m = weights_meta(w, key_charsmap);
    if (m == NULL) {
        return WEFT_OK;
    }
    if (m->type != META_ARRAY || (m->elem_type != META_U8 && m->elem_type != META_I8)) {
        return weft_fail(err, WEFT_FORMAT, "metadata key '%s': wanted an array of bytes, found %s",
                         key_charsmap, meta_type_name(m->type));
    }
    return vocab_charsmap_init_bytes(c, m->data, (size_t)m->n_bytes, key_charsmap, err);
}

weft_status vocab_charsmap_init_bytes(vocab_charsmap *c, const uint8_t *data, size_t len,
                                      const char *name, weft_error *err) {
    *c = (vocab_charsmap){0};
    if (len == 0) {
        return WEFT_OK;
    }
    if (len > VOCAB_CHARSMAP_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "'%s': %zu bytes, at most %u are taken", name, len,
                         VOCAB_CHARSMAP_BYTES_MAX);
    }
    const uint32_t n_bytes = (uint32_t)len;
    const uint32_t units_bytes = n_bytes < 4 ? 0 : read_u32(data);
    if (n_bytes < 8 || units_bytes < 4 || units_bytes % 4 != 0 || units_bytes > n_bytes - 4) {
        return weft_fail(err, WEFT_FORMAT,
                         "'%s': says %u bytes of units, wanted a multiple of 4 within its %u bytes",
                         name, units_bytes, n_bytes);
    }
    const str strings =
        str_from((const char *)data + 4 + units_bytes, (size_t)n_bytes - 4 - units_bytes);
    const weft_status status = check_strings(strings, name, err);
    if (status != WEFT_OK) {
        return status;
    }
    c->n_units = units_bytes / 4;
    c->n_strings = (uint32_t)strings.len;
    c->units = mem_array(MEM_VOCAB, c->n_units, sizeof *c->units);
    c->strings = mem_alloc(MEM_VOCAB, strings.len);
    if (c->units == NULL || c->strings == NULL) {
        vocab_charsmap_deinit(c);
        return weft_fail(err, WEFT_NOMEM, "out of memory for a normaliser of %u bytes", n_bytes);
    }
    for (uint32_t i = 0; i < c->n_units; i++) {
        c->units[i] = read_u32(data + 4 + (size_t)i * 4);
    }
    if (strings.len > 0) {
        memcpy(c->strings, strings.data, strings.len);
    }
    return WEFT_OK;
}

void vocab_charsmap_deinit(vocab_charsmap *c) {
    mem_free(c->units);
    mem_free(c->strings);
    *c = (vocab_charsmap){0};
}

size_t vocab_charsmap_find(const vocab_charsmap *c, str text, str *replacement) {
    return find(c, text, false, replacement);
}

size_t vocab_charsmap_find_shortest(const vocab_charsmap *c, str text, str *replacement) {
    return find(c, text, true, replacement);
}

static size_t find(const vocab_charsmap *c, str text, bool is_shortest, str *replacement) {
    if (c->units == NULL) {
        return 0;
    }
    const size_t len = text.len < VOCAB_CHARSMAP_KEY_MAX ? text.len : VOCAB_CHARSMAP_KEY_MAX;
    size_t found = 0;
    uint32_t at = way_of(c->units[0]);
    for (size_t i = 0; i < len; i++) {
        const uint8_t byte = (uint8_t)text.data[i];
        at ^= byte;
        if (byte == 0 || at >= c->n_units || label_of(c->units[at]) != byte) {
            break;
        }
        const uint32_t unit = c->units[at];
        at ^= way_of(unit);
        const bool is_end = (unit & 1u << 8) != 0 && at < c->n_units;
        const uint32_t string = is_end ? c->units[at] & 0x7FFFFFFFu : UINT32_MAX;
        if (string < c->n_strings) {
            *replacement = str_from_cstr(c->strings + string);
            found = i + 1;
            if (is_shortest) {
                break;
            }
        }
    }
    return found;
}

static weft_status check_strings(str strings, const char *name, weft_error *err) {
    size_t from = 0;
    for (size_t i = 0; i < strings.len; i++) {
        if (strings.data[i] == '\0') {
            from = i + 1;
        } else if (i - from >= VOCAB_CHARSMAP_REPLACEMENT_MAX) {
            return weft_fail(err, WEFT_LIMIT,
                             "'%s': a replacement of over %u bytes at byte %zu of the strings",
                             name, VOCAB_CHARSMAP_REPLACEMENT_MAX, from);
        }
    }
    if (from != strings.len) {
        return weft_fail(err, WEFT_FORMAT, "'%s': the last replacement has no end (NUL)", name);
    }
    return WEFT_OK;
}
