/* dtype.c - the table of number formats, and how many bytes a row of each takes.
 *
 * Everything comes from WEFT_DTYPE_LIST in weft/dtype.h: a format is added there and nowhere
 * else. Look-ups are linear over about thirty entries; they happen while a file is opened, never
 * while a model runs.
 */
#include "weft/dtype.h"

#include <stdbool.h>

#include "base/check.h"
#include "tensor/tensor.h"

static const weft_dtype_info dtype_infos[WEFT_DTYPE_COUNT] = {
#define X(name, gguf, len, bytes, text) [WEFT_DTYPE_##name] = {text, gguf, len, bytes},
    WEFT_DTYPE_LIST(X)
#undef X
};

static char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; }

/* Formats are ASCII; strcasecmp would follow the locale. */
static bool names_equal(const char *a, const char *b) {
    while (*a != '\0' && ascii_upper(*a) == ascii_upper(*b)) {
        a++;
        b++;
    }
    return ascii_upper(*a) == ascii_upper(*b);
}

const weft_dtype_info *weft_dtype_info_of(weft_dtype dtype) {
    WEFT_ASSERT((unsigned)dtype < WEFT_DTYPE_COUNT);
    return &dtype_infos[dtype];
}

weft_dtype weft_dtype_from_gguf(uint32_t gguf_id) {
    for (unsigned i = 0; gguf_id != WEFT_DTYPE_NO_GGUF && i < WEFT_DTYPE_COUNT; i++) {
        if (dtype_infos[i].gguf_id == gguf_id) {
            return (weft_dtype)i;
        }
    }
    return WEFT_DTYPE_COUNT;
}

weft_dtype weft_dtype_from_name(const char *name) {
    for (unsigned i = 0; name != NULL && i < WEFT_DTYPE_COUNT; i++) {
        if (names_equal(dtype_infos[i].name, name)) {
            return (weft_dtype)i;
        }
    }
    return WEFT_DTYPE_COUNT;
}

size_t dtype_row_bytes(weft_dtype dtype, uint64_t cols) {
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    WEFT_DEBUG_ASSERT(cols % info->block_len == 0);
    return (size_t)(cols / info->block_len) * info->block_bytes;
}

size_t dtype_row_bytes_checked(weft_dtype dtype, uint64_t cols) {
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    const uint64_t blocks = cols / info->block_len;
    if (cols % info->block_len != 0 || blocks > SIZE_MAX / info->block_bytes) {
        return 0;
    }
    return (size_t)blocks * info->block_bytes;
}
