/* fuzz_load_answer.c - any bytes as a server's answer, cut in any way.
 *
 * The first byte says how long the pieces are. Cut or whole, the same text, counts and verdict must
 * come out.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "cli/load_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool read_in_pieces(load_answer *a, const char *bytes, size_t len, size_t piece,
                           bool is_streamed) {
    load_answer_begin(a, is_streamed, 0, NULL);
    for (size_t at = 0; at < len; at += piece) {
        load_answer_push(a, bytes + at, len - at < piece ? len - at : piece, at);
    }
    return load_answer_finish(a, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    load_answer cut, whole;
    char words[64];
    if (len < 2) {
        return 0;
    }
    const char *bytes = (const char *)data + 1;
    load_answer_init(&cut);
    load_answer_init(&whole);
    for (int is_streamed = 0; is_streamed < 2; is_streamed++) {
        const bool is_fine = read_in_pieces(&cut, bytes, len - 1, data[0] % 32 + 1u, is_streamed);
        WEFT_ASSERT(is_fine == read_in_pieces(&whole, bytes, len - 1, len - 1, is_streamed));
        WEFT_ASSERT(str_eq(buf_view(&cut.text), buf_view(&whole.text)));
        WEFT_ASSERT(cut.output_tokens == whole.output_tokens);
        WEFT_ASSERT(strcmp(cut.broken, whole.broken) == 0);
        load_answer_error(&whole, words, sizeof words);
    }
    load_answer_deinit(&cut);
    load_answer_deinit(&whole);
    return 0;
}
