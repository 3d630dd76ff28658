/* fuzz_gguf.c - any bytes as a model file: opened and read to the last value, or refused.
 *
 * After a successful open everything that the interface promises is used: every key and tensor is
 * found by its name, every value is converted in every way, every string is walked, and the first
 * and last byte of every tensor are read. The sanitizers find what leaves the image, the program's
 * own assertions the rest. A refusal must come with a message.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "weights/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static volatile uint8_t sink;

static void read_text(str s) {
    for (size_t i = 0; i < s.len; i++) {
        sink ^= (uint8_t)s.data[i];
    }
}

static void read_value(const meta_value *m) {
    char text[256];
    meta_format(m, text, sizeof(text));
    WEFT_ASSERT(strlen(text) > 0);
    str s = {0};
    if (meta_as_str(m, &s)) {
        read_text(s);
    }
    uint64_t n_strings = 0;
    for (uint64_t cursor = 0; meta_next_str(m, &cursor, &s); n_strings++) {
        read_text(s);
    }
    WEFT_ASSERT(n_strings == (m->elem_type == META_STRING && m->type == META_ARRAY ? m->count : 0));
    for (uint64_t i = 0; i <= m->count; i++) {
        uint64_t u = 0;
        int64_t n = 0;
        double f = 0;
        bool b = false;
        const int n_readers = meta_as_u64(m, i, &u) + meta_as_i64(m, i, &n) +
                              meta_as_f64(m, i, &f) + meta_as_bool(m, i, &b);
        WEFT_ASSERT((n_readers > 0) == (i < m->count && m->elem_type != META_STRING));
    }
}

/* Names with a NUL inside cannot be asked for. */
static bool copy_name(char out[static 65536], str name) {
    WEFT_ASSERT(name.len > 0 && name.len < 65536);
    memcpy(out, name.data, name.len);
    out[name.len] = '\0';
    return strlen(out) == name.len;
}

static void read_all(const weights *w) {
    static char name[65536];
    for (size_t i = 0; i < weights_meta_count(w); i++) {
        const meta_value *m = weights_meta_at(w, i);
        read_value(m);
        WEFT_ASSERT(!copy_name(name, m->key) || weights_meta(w, name) == m);
    }
    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        const weights_tensor *t = weights_tensor_at(w, i);
        WEFT_ASSERT(!copy_name(name, t->name) || weights_find(w, name) == t);
        WEFT_ASSERT(t->n_bytes > 0);
        sink ^= t->data[0] ^ t->data[t->n_bytes - 1];
        weights_drop_pages(w, t);
    }
    uint32_t number = 0;
    bool found = false;
    const weft_status status = weights_get_u32(w, "llama.block_count", &number, &found, NULL);
    WEFT_ASSERT(status == WEFT_OK || found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    weights *w = NULL;
    weft_error err = {0};
    const weft_status status = weights_open_memory(&w, data, len, "fuzz", &err);
    if (status == WEFT_OK) {
        read_all(w);
    } else {
        WEFT_ASSERT(w == NULL);
        WEFT_ASSERT(err.code == status);
        WEFT_ASSERT(strncmp(err.message, "fuzz: ", 6) == 0);
    }
    weights_release(&w);
    WEFT_ASSERT(mem_stats_total().live_bytes == 0);
    return 0;
}
