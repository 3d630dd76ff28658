/* fuzz_json_reader.c - any bytes as JSON, read beside jansson.
 *
 * Both take a document or neither does, and the tree built from the events is the tree that jansson
 * built. Only the reader's own limits (depth, length of a number) may part them, and a NUL byte
 * behind a number, which jansson passes over. Skipping must end where reading does.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "text/json_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static json_t *value_of(const json_reader *r, json_event event) {
    switch (event) {
    case JSON_EVENT_OBJECT: return json_object();
    case JSON_EVENT_ARRAY: return json_array();
    case JSON_EVENT_STRING: return json_stringn(r->text.data, r->text.len);
    case JSON_EVENT_INTEGER: return json_integer(r->integer);
    case JSON_EVENT_REAL: return json_real(r->real);
    case JSON_EVENT_TRUE: return json_true();
    case JSON_EVENT_FALSE: return json_false();
    default: return json_null();
    }
}

/* The tree of the events; NULL after an error. */
static json_t *build(json_reader *r) {
    json_t *open[JSON_READER_DEPTH_MAX];
    char *keys[JSON_READER_DEPTH_MAX];
    size_t key_lens[JSON_READER_DEPTH_MAX];
    uint32_t depth = 0;
    json_t *root = NULL;
    for (;;) {
        const json_event event = json_reader_next(r);
        if (event == JSON_EVENT_END) {
            return root;
        }
        if (event == JSON_EVENT_ERROR) {
            json_decref(root);
            return NULL;
        }
        if (event == JSON_EVENT_KEY) {
            keys[depth - 1] = (char *)(uintptr_t)r->text.data;
            key_lens[depth - 1] = r->text.len;
            continue;
        }
        if (event == JSON_EVENT_OBJECT_END || event == JSON_EVENT_ARRAY_END) {
            WEFT_ASSERT(depth > 0);
            depth--;
            continue;
        }
        json_t *value = value_of(r, event);
        WEFT_ASSERT(value != NULL);
        if (depth == 0) {
            WEFT_ASSERT(root == NULL);
            root = value;
        } else if (json_is_object(open[depth - 1])) {
            WEFT_ASSERT(json_object_setn_new(open[depth - 1], keys[depth - 1], key_lens[depth - 1],
                                             value) == 0);
        } else {
            WEFT_ASSERT(json_array_append_new(open[depth - 1], value) == 0);
        }
        if (event == JSON_EVENT_OBJECT || event == JSON_EVENT_ARRAY) {
            open[depth++] = value;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    const str text = str_from(len > 0 ? (const char *)data : "", len);
    arena memory;
    arena_init(&memory, MEM_TEST, 64u << 20);
    json_reader r;
    json_reader_init(&r, text, &memory);
    json_t *got = build(&r);

    json_reader skipper;
    json_reader_init(&skipper, text, NULL);
    const json_event first = json_reader_next(&skipper);
    const bool is_string = first == JSON_EVENT_ERROR && skipper.error.code == WEFT_INVALID;
    if (!is_string) { /* an escape at the top has no arena here */
        const str skipped = json_reader_skip(&skipper);
        const bool is_whole = json_reader_next(&skipper) == JSON_EVENT_END;
        WEFT_ASSERT(is_whole == (got != NULL));
        WEFT_ASSERT(is_whole == (skipped.data != NULL && skipper.error.code == WEFT_OK));
    }

    json_error_t error;
    json_t *want = json_loadb((const char *)data, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    const bool is_own_limit = strstr(r.error.message, "nested more than") != NULL ||
                              strstr(r.error.message, "longer than 127") != NULL;
    if (!is_own_limit && memchr(text.data, '\0', len) == NULL) {
        WEFT_ASSERT((got != NULL) == (want != NULL));
        WEFT_ASSERT(got == NULL || json_equal(got, want));
    }
    json_decref(got);
    json_decref(want);
    arena_deinit(&memory);
    return 0;
}
