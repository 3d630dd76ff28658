/* split.c - the keys and file names that hold a split model together.
 *
 * The metadata is the truth about a part's number, the file name only the way to its siblings:
 * a part whose name does not fit its number is refused, because the other names could then only
 * be guessed.
 *
 * Writers store the three keys in different integer types; any is accepted.
 */
#include "weights/split.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"

#define SUFFIX_BYTES 32u

/* An absent key leaves *out alone. */
static weft_status read_key(uint64_t *out, const gguf *g, const char *key, uint64_t max,
                            const char *path, weft_error *err) {
    const meta_value *m = gguf_find(g, key);
    if (m == NULL) {
        return WEFT_OK;
    }
    uint64_t value = 0;
    if (m->type == META_ARRAY || !meta_as_u64(m, 0, &value) || value > max) {
        char found[160];
        meta_format(m, found, sizeof(found));
        return weft_fail(err, WEFT_FORMAT, "%s: key '%s' is %s; want an integer from 0 to %" PRIu64,
                         path, key, found, max);
    }
    *out = value;
    return WEFT_OK;
}

weft_status split_read(split *out, const gguf *g, const char *path, weft_error *err) {
    uint64_t no = 0;
    uint64_t count = 1;
    uint64_t n_tensors = UINT64_MAX;
    weft_status status = read_key(&count, g, "split.count", WEIGHTS_PARTS_MAX, path, err);
    if (status == WEFT_OK && count > 1) {
        status = read_key(&no, g, "split.no", count - 1, path, err);
    }
    if (status == WEFT_OK && count > 1) {
        status = read_key(&n_tensors, g, "split.tensors.count", WEIGHTS_TENSORS_MAX, path, err);
    }
    if (status != WEFT_OK) {
        return status;
    }
    if (count > 1 && n_tensors == UINT64_MAX) {
        return weft_fail(err, WEFT_FORMAT,
                         "%s: part %" PRIu64 " of %" PRIu64 " has no key 'split.tensors.count'",
                         path, no + 1, count);
    }
    *out = (split){
        .no = (uint32_t)no,
        .count = count == 0 ? 1 : (uint32_t)count,
        .n_tensors = n_tensors,
    };
    return WEFT_OK;
}

static str suffix_of(char out[static SUFFIX_BYTES], uint32_t no, uint32_t count) {
    snprintf(out, SUFFIX_BYTES, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", no + 1, count);
    return str_from_cstr(out);
}

weft_status split_path(char **out, const split *s, const char *path, uint32_t no, weft_error *err) {
    WEFT_ASSERT(s->no < s->count);
    WEFT_ASSERT(no < s->count);
    char own_text[SUFFIX_BYTES];
    char other_text[SUFFIX_BYTES];
    const str own = suffix_of(own_text, s->no, s->count);
    const str other = suffix_of(other_text, no, s->count);
    const str name = str_from_cstr(path);
    if (!str_ends_with(name, own)) {
        return weft_fail(err, WEFT_FORMAT,
                         "%s: this is part %" PRIu32 " of %" PRIu32 "; want a file name that ends "
                         "in '%s', so that the other parts can be found",
                         path, s->no + 1, s->count, own_text);
    }
    WEFT_ASSERT(own.len == other.len);
    char *result = mem_strndup(MEM_WEIGHTS, path, name.len);
    if (result == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory for a path", path);
    }
    memcpy(result + name.len - own.len, other.data, other.len);
    *out = result;
    return WEFT_OK;
}
