/* fuzz_tokenizer_json.c - any bytes as a tokenizer.json, and any text through what it describes.
 *
 * The input is the JSON, then optionally a NUL byte and a text. A file that loads must encode the
 * text the same way twice, give numbers of its own only, and decode them to UTF-8.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char sample[] = "Hello  <s>w\xC3\xB6rld 12345 can't\n\t\xE4\xB8\xAD \xFF x";

static void round_trip(const vocab *v, str text) {
    vocab_ids once = {0};
    vocab_ids twice = {0};
    const uint32_t flags = VOCAB_ADD_SPECIAL | VOCAB_PARSE_SPECIAL;
    WEFT_ASSERT(vocab_encode(v, text, flags, &once, NULL) == WEFT_OK);
    WEFT_ASSERT(vocab_encode(v, text, flags, &twice, NULL) == WEFT_OK);
    WEFT_ASSERT(once.count == twice.count);
    buf shown;
    buf_init(&shown, MEM_TEST, 64u << 20);
    vocab_decoder decoder;
    vocab_decoder_init(&decoder, v, true);
    for (size_t i = 0; i < once.count; i++) {
        WEFT_ASSERT(once.ids[i] == twice.ids[i]);
        WEFT_ASSERT(once.ids[i] >= 0 && (uint32_t)once.ids[i] < vocab_size(v));
        vocab_decoder_push(&decoder, once.ids[i], &shown);
    }
    vocab_decoder_flush(&decoder, &shown);
    WEFT_ASSERT(utf8_is_valid(buf_view(&shown)));
    buf_deinit(&shown);
    vocab_ids_deinit(&once);
    vocab_ids_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    const str input = str_from((const char *)data, len);
    const size_t nul = str_find(input, str_from("", 1), 0);
    vocab *v = NULL;
    weft_error err;
    if (vocab_create_from_json_text(&v, str_slice(input, 0, nul), "fuzz", &err) == WEFT_OK) {
        round_trip(v, str_from(sample, sizeof sample - 1));
        if (nul != SIZE_MAX) {
            round_trip(v, str_slice(input, nul + 1, len));
        }
    }
    vocab_destroy(&v);
    return 0;
}
