/* test_tokjson.c - a tokenizer.json whose every allocation fails in turn.
 *
 * What it encodes is compared with the tokenizers package in tests/vocab/test_tokenizer_json.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "vocab/vocab.h"

static const char file[] =
    "{\"added_tokens\":[{\"id\":5,\"content\":\"<s>\",\"special\":true,\"normalized\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
    "{\"type\":\"Lowercase\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+\"},"
    "\"behavior\":\"Removed\",\"invert\":false},\"post_processor\":null,"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\","
    "\"vocab\":{\"?\":0,\"l\":1,\"o\":2,\"lo\":3,\"w\":4},\"merges\":[\"l o\"]}}";

static weft_status load_and_encode(vocab_ids *ids) {
    vocab *v = NULL;
    const str text = str_from(file, sizeof file - 1);
    weft_status status = vocab_create_from_json_text(&v, text, "file", NULL);
    if (status == WEFT_OK) {
        status = vocab_encode(v, STR_LIT("LOW <s> xo\xC3\xA9"), VOCAB_PARSE_SPECIAL, ids, NULL);
    }
    vocab_destroy(&v);
    return status;
}

static void test_pipeline_gives_the_ids(void **state) {
    (void)state;
    vocab_ids ids = {0};
    assert_int_equal(load_and_encode(&ids), WEFT_OK);
    const int32_t wanted[] = {3, 4, 5, 0, 2, 0};
    assert_int_equal(ids.count, 6);
    assert_memory_equal(ids.ids, wanted, sizeof wanted);
    vocab_ids_deinit(&ids);
}

static void test_every_failing_allocation_is_an_error(void **state) {
    (void)state;
    const uint64_t before = mem_stats_total().live_bytes;
    weft_status status = WEFT_NOMEM;
    for (int64_t nth = 0; status != WEFT_OK && nth < 1000; nth++) {
        vocab_ids ids = {0};
        mem_fail_after(nth);
        status = load_and_encode(&ids);
        mem_fail_after(-1);
        vocab_ids_deinit(&ids);
        assert_true(status == WEFT_OK || status == WEFT_NOMEM);
        assert_int_equal(mem_stats_total().live_bytes, before);
    }
    assert_int_equal(status, WEFT_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipeline_gives_the_ids),
        cmocka_unit_test(test_every_failing_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
