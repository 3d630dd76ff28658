/* fuzz_tokenizer_json.c - any bytes as a tokenizer.json, and any text through what it describes.
 *
 * The input is the JSON, then optionally a NUL byte and a text. A file that loads must encode the
 * text the same way twice, or find both times that a pattern takes too many steps, and give numbers
 * of its own only. Each of them, and the first numbers that there are, must be decoded to UTF-8.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char sample[] = "Hello  <s>w\xC3\xB6rld 12345 can't\n\t\xE4\xB8\xAD \xFF x";

static void decode(const vocab *v, const int32_t *ids, size_t count) {
    buf shown;
    buf_init(&shown, MEM_TEST, 64u << 20);
    vocab_decoder decoder;
    vocab_decoder_init(&decoder, v, true);
    for (size_t i = 0; i < count; i++) {
        vocab_decoder_push(&decoder, ids[i], &shown);
        WEFT_ASSERT(utf8_is_valid(buf_view(&shown)));
        buf_clear(&shown);
    }
    vocab_decoder_flush(&decoder, &shown);
    WEFT_ASSERT(utf8_is_valid(buf_view(&shown)));
    vocab_decoder_deinit(&decoder);
    buf_deinit(&shown);
}

static void round_trip(const vocab *v, str text) {
    vocab_ids once = {0};
    vocab_ids twice = {0};
    const uint32_t flags = VOCAB_ADD_SPECIAL | VOCAB_PARSE_SPECIAL;
    const weft_status status = vocab_encode(v, text, flags, &once, NULL);
    WEFT_ASSERT(status == WEFT_OK || status == WEFT_LIMIT);
    WEFT_ASSERT(vocab_encode(v, text, flags, &twice, NULL) == status);
    WEFT_ASSERT(once.count == twice.count);
    for (size_t i = 0; i < once.count; i++) {
        WEFT_ASSERT(once.ids[i] == twice.ids[i]);
        WEFT_ASSERT(once.ids[i] >= 0 && (uint32_t)once.ids[i] < vocab_size(v));
    }
    decode(v, once.ids, once.count);
    vocab_ids_deinit(&once);
    vocab_ids_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    const str input = str_from((const char *)data, len);
    const size_t nul = str_find(input, str_from("", 1), 0);
    vocab *v = NULL;
    weft_error err;
    if (vocab_create_from_json_text(&v, str_slice(input, 0, nul), "fuzz", &err) == WEFT_OK) {
        int32_t first[32];
        for (size_t i = 0; i < WEFT_LEN(first); i++) {
            first[i] = (int32_t)i;
        }
        decode(v, first, WEFT_LEN(first));
        round_trip(v, str_from(sample, sizeof sample - 1));
        if (nul != SIZE_MAX) {
            round_trip(v, str_slice(input, nul + 1, len));
        }
    }
    vocab_destroy(&v);
    return 0;
}
