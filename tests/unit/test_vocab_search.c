/* Promises of the vocabularies that search a tree of tokens: unigram, WordPiece and RWKV. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "vocab_image.h"

typedef void image_fn(gguf_image *g, const vocab_image_options *options);

static const vocab_image_options no_options = {NULL, -1, -1};

static void add_charsmap(gguf_image *g) {
    uint8_t map[VOCAB_IMAGE_CHARSMAP_BYTES];
    vocab_image_charsmap(map);
    gguf_image_array(g, "tokenizer.ggml.precompiled_charsmap", META_U8, map, sizeof map);
}

static vocab *create(image_fn *image, const char *flag, int value) {
    gguf_image g;
    gguf_image_init(&g, 3);
    image(&g, &no_options);
    if (flag != NULL) {
        gguf_image_int(&g, flag, META_BOOL, value);
    }
    if (image == vocab_image_unigram) {
        add_charsmap(&g);
    }
    return vocab_image_create(&g);
}

static void check_ids(const vocab *v, str text, uint32_t flags, const char *const *want,
                      size_t n_want) {
    vocab_ids ids = {0};
    assert_int_equal(vocab_encode(v, text, flags, &ids, NULL), WEFT_OK);
    for (size_t i = 0; i < n_want && i < ids.count; i++) {
        const str token = vocab_token_text(v, ids.ids[i]);
        if (!str_eq_cstr(token, want[i])) {
            fail_msg("token %zu of '" STR_FMT "' is '" STR_FMT "', wanted '%s'", i, STR_ARG(text),
                     STR_ARG(token), want[i]);
        }
    }
    assert_int_equal(ids.count, n_want);
    vocab_ids_deinit(&ids);
}

#define CHECK_IDS(v, text, flags, ...)                                     \
    check_ids(v, STR_LIT(text), flags, (const char *const[]){__VA_ARGS__}, \
              WEFT_LEN(((const char *const[]){__VA_ARGS__})))

static void check_decoded(const vocab *v, str text, const char *want) {
    vocab_ids ids = {0};
    assert_int_equal(vocab_encode(v, text, 0, &ids, NULL), WEFT_OK);
    buf out;
    buf_init(&out, MEM_TEST, 1u << 16);
    vocab_decoder d;
    vocab_decoder_init(&d, v, false);
    for (size_t i = 0; i < ids.count; i++) {
        vocab_decoder_push(&d, ids.ids[i], &out);
    }
    vocab_decoder_flush(&d, &out);
    vocab_decoder_deinit(&d);
    assert_string_equal(buf_cstr(&out), want);
    buf_deinit(&out);
    vocab_ids_deinit(&ids);
}

static void unigram_takes_the_best_sum(void **state) {
    vocab *v = create(vocab_image_unigram, NULL, 0);
    CHECK_IDS(v, "abcd", 0, "\u2581ab", "cd");
    CHECK_IDS(v, "abc", 0, "\u2581abc");
    CHECK_IDS(v, "ab abc", 0, "\u2581ab", "\u2581abc");
    CHECK_IDS(v, "ab<tag>ab", 0, "\u2581ab", "<tag>", "\u2581ab");
    CHECK_IDS(v, "ab", VOCAB_ADD_SPECIAL, "\u2581ab", "</s>");
    check_decoded(v, STR_LIT("abcd abc"), "abcd abc");
    vocab_destroy(&v);
}

static void unigram_writes_one_unknown_for_a_run(void **state) {
    vocab *v = create(vocab_image_unigram, NULL, 0);
    CHECK_IDS(v,
              "a\u00FC\u00FD\xFF"
              "a",
              0, "\u2581", "a", "<unk>", "a");
    CHECK_IDS(v, "unused", 0, "\u2581", "<unk>", "d");
    CHECK_IDS(v, "\u4E16", 0, "\u2581", "\u4E16");
    vocab_destroy(&v);
}

static void unigram_normalises_as_the_file_says(void **state) {
    vocab *v = create(vocab_image_unigram, "tokenizer.ggml.remove_extra_whitespaces", 1);
    CHECK_IDS(v, "AB", 0, "\u2581", "a", "<unk>");
    CHECK_IDS(v, " \t Ab \u00A0  Abc \t", 0, "\u2581ab", "\u2581abc");
    CHECK_IDS(v, " \t ", VOCAB_ADD_SPECIAL, "</s>");
    vocab_destroy(&v);
    v = create(vocab_image_unigram, "tokenizer.ggml.add_space_prefix", 0);
    CHECK_IDS(v, "ab  ab ", 0, "ab", "\u2581", "\u2581ab", "\u2581");
    vocab_destroy(&v);
}

static void wordpiece_takes_the_longest_piece_or_nothing(void **state) {
    vocab *v = create(vocab_image_wordpiece, NULL, 0);
    CHECK_IDS(v, "unaffable", 0, "\u2581unaf", "f", "able");
    CHECK_IDS(v, "unaffed un", 0, "[UNK]", "\u2581un");
    CHECK_IDS(v, "fable", 0, "[UNK]");
    CHECK_IDS(v, "un", VOCAB_ADD_SPECIAL, "[CLS]", "\u2581un", "[SEP]");
    CHECK_IDS(v, "[SEP]un", VOCAB_PARSE_SPECIAL, "[SEP]", "\u2581un");
    CHECK_IDS(v, "a\u2581 \u2581", 0, "\u2581a", "\u2581", "\u2581\u2581");
    CHECK_IDS(v, "a\u2581a", 0, "\u2581a", "\u2581", "a");
    check_decoded(v, STR_LIT("unaffable,  cafe"), "unaffable , cafe");
    vocab_destroy(&v);
}

static void wordpiece_normalises_as_bert_does(void **state) {
    vocab *v = create(vocab_image_wordpiece, NULL, 0);
    CHECK_IDS(v, "Cafe\u0301,CAF\u00C9", 0, "\u2581cafe", "\u2581,", "\u2581cafe");
    CHECK_IDS(v, "a\u4E16\u4E16\u3000a", 0, "\u2581a", "\u2581\u4E16", "\u2581\u4E16", "\u2581a");
    CHECK_IDS(v, "u\x01n\xFF\u200B\uFFFD\tun\0", 0, "\u2581un", "\u2581un");
    vocab_destroy(&v);
    v = create(vocab_image_wordpiece, "tokenizer.ggml.normalizer.lowercase", 0);
    CHECK_IDS(v, "Caf\u00E9 caf\u00E9", 0, "\u2581Caf\u00E9", "[UNK]");
    vocab_destroy(&v);
}

static void wordpiece_knows_no_word_over_a_hundred_characters(void **state) {
    vocab *v = create(vocab_image_wordpiece, NULL, 0);
    char text[101];
    memset(text, 'a', sizeof text);
    vocab_ids ids = {0};
    assert_int_equal(vocab_encode(v, str_from(text, 100), 0, &ids, NULL), WEFT_OK);
    assert_int_equal(ids.count, 100);
    ids.count = 0;
    assert_int_equal(vocab_encode(v, str_from(text, 101), 0, &ids, NULL), WEFT_OK);
    assert_int_equal(ids.count, 1);
    vocab_ids_deinit(&ids);
    vocab_destroy(&v);
}

static void rwkv_takes_the_longest_token_of_bytes(void **state) {
    vocab *v = create(vocab_image_rwkv, NULL, 0);
    CHECK_IDS(v, "abcabcd\n", 0, "ab", "c", "abcd", "\\n");
    CHECK_IDS(v, "\u4E16\\'", 0, "\\xe4\\xb8", "\\x96", "\\\\", "\\'");
    check_decoded(v, STR_LIT("a\n\u4E16\\'"), "a\n\u4E16\\'");
    vocab_destroy(&v);
}

static void plamo2_takes_the_cheapest_cut_and_the_longer_token(void **state) {
    vocab *v = create(vocab_image_plamo2, NULL, 0);
    CHECK_IDS(v, "abc", 0, "ab", "c");
    CHECK_IDS(v, "bc a", 0, "bc", " a");
    CHECK_IDS(v,
              "\uFEFF"
              "a",
              0, "a");
    CHECK_IDS(v, "\u4E16\u00E9", 0, "\u4E16", "<0xC3>", "<0xA9>");
    CHECK_IDS(v, "a\xFF", 0, "a", "<0xEF>", "<0xBF>", "<0xBD>");
    CHECK_IDS(v, "a<|tool|>b", 0, "a", "<|tool|>", "b");
    check_decoded(v, STR_LIT("abc \u00E9\u2581 a"), "abc \u00E9\u2581 a");
    vocab_destroy(&v);
}

static void long_runs_end_in_time(void **state) {
    image_fn *const images[] = {vocab_image_unigram, vocab_image_wordpiece, vocab_image_rwkv};
    const char *const runs[] = {"a", " ", "abc", "\u0301", "\u4E16", "\xFF", "\u00FC", "\u2581"};
    const size_t size = 200000;
    char *text = mem_array(MEM_TEST, size, 1);
    for (size_t i = 0; i < WEFT_LEN(images) * WEFT_LEN(runs); i++) {
        vocab *v = create(images[i / WEFT_LEN(runs)], NULL, 0);
        const char *unit = runs[i % WEFT_LEN(runs)];
        for (size_t k = 0; k < size; k++) {
            text[k] = unit[k % strlen(unit)];
        }
        vocab_ids ids = {0};
        const uint64_t start = clock_now_ns();
        assert_int_equal(vocab_encode(v, str_from(text, size), 0, &ids, NULL), WEFT_OK);
        assert_true(clock_now_ns() - start < 2000000000u);
        vocab_ids_deinit(&ids);
        vocab_destroy(&v);
    }
    mem_free(text);
}

static weft_status create_status(gguf_image *g, weft_error *err) {
    size_t len;
    uint8_t *bytes = gguf_image_finish(g, &len);
    weights *w = NULL;
    vocab *v = NULL;
    assert_int_equal(weights_open_memory(&w, bytes, len, "vocabulary", NULL), WEFT_OK);
    const weft_status status = vocab_create(&v, w, err);
    vocab_destroy(&v);
    weights_release(&w);
    mem_free(bytes);
    gguf_image_deinit(g);
    return status;
}

static weft_status charsmap_status(meta_type type, const uint8_t *map, size_t n, weft_error *err) {
    gguf_image g;
    gguf_image_init(&g, 3);
    vocab_image_unigram(&g, &no_options);
    gguf_image_array(&g, "tokenizer.ggml.precompiled_charsmap", type, map, n);
    return create_status(&g, err);
}

static void malformed_normalisers_are_refused(void **state) {
    weft_error err;
    uint8_t map[VOCAB_IMAGE_CHARSMAP_BYTES];
    vocab_image_charsmap(map);
    assert_int_equal(charsmap_status(META_U8, map, sizeof map, &err), WEFT_OK);
    assert_int_equal(charsmap_status(META_I8, map, sizeof map, &err), WEFT_OK);
    assert_int_equal(charsmap_status(META_BOOL, map, 8, &err), WEFT_FORMAT);
    assert_non_null(strstr(err.message, "precompiled_charsmap"));
    assert_int_equal(charsmap_status(META_U8, map, 3, &err), WEFT_FORMAT);
    assert_int_equal(charsmap_status(META_U8, map, sizeof map - 5, &err), WEFT_FORMAT);
    assert_int_equal(charsmap_status(META_U8, map, sizeof map - 1, &err), WEFT_FORMAT);
    map[0] = 1;
    assert_int_equal(charsmap_status(META_U8, map, sizeof map, &err), WEFT_FORMAT);
    uint8_t long_string[8 + 300 + 1] = {4};
    memset(long_string + 8, 'x', 300);
    assert_int_equal(charsmap_status(META_U8, long_string, sizeof long_string, &err), WEFT_LIMIT);
}

/* Units of chance: every walk stays within the array and ends. */
static void any_normaliser_of_the_right_size_is_safe(void **state) {
    uint32_t seed = 1;
    for (int round = 0; round < 60; round++) {
        uint8_t map[VOCAB_IMAGE_CHARSMAP_BYTES];
        vocab_image_charsmap(map);
        for (size_t i = 4; i < sizeof map - 1; i++) {
            seed = seed * 1664525u + 1013904223u;
            /* Few bits, so that labels match often. */
            map[i] = (uint8_t)(seed >> 24 & (round % 2 == 0 ? 0xFF : 0x03));
        }
        gguf_image g;
        gguf_image_init(&g, 3);
        vocab_image_unigram(&g, &no_options);
        gguf_image_array(&g, "tokenizer.ggml.precompiled_charsmap", META_U8, map, sizeof map);
        vocab *v = vocab_image_create(&g);
        char text[2000];
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = (char)(seed >> 24 & (round % 2 == 0 ? 0xFF : 0x03));
        }
        vocab_ids ids = {0};
        assert_int_equal(vocab_encode(v, str_from(text, sizeof text), 0, &ids, NULL), WEFT_OK);
        vocab_ids_deinit(&ids);
        vocab_destroy(&v);
    }
}

static void no_vocabulary_is_refused_by_name(void **state) {
    gguf_image g;
    gguf_image_init(&g, 3);
    gguf_image_str(&g, "tokenizer.ggml.model", "no_vocab");
    weft_error err;
    assert_int_equal(create_status(&g, &err), WEFT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no_vocab"));
}

static void running_out_of_memory_leaks_nothing(void **state) {
    image_fn *const images[] = {vocab_image_unigram, vocab_image_wordpiece, vocab_image_rwkv};
    for (size_t i = 0; i < WEFT_LEN(images); i++) {
        gguf_image g;
        gguf_image_init(&g, 3);
        images[i](&g, &no_options);
        add_charsmap(&g);
        size_t len;
        uint8_t *bytes = gguf_image_finish(&g, &len);
        gguf_image_deinit(&g);
        weights *w = NULL;
        assert_int_equal(weights_open_memory(&w, bytes, len, "vocabulary", NULL), WEFT_OK);
        const uint64_t live = mem_stats_room(MEM_VOCAB).live_bytes;
        weft_status status = WEFT_NOMEM;
        for (int64_t n = 0; status != WEFT_OK && n < 100; n++) {
            vocab *v = NULL;
            vocab_ids ids = {0};
            mem_fail_after(n);
            status = vocab_create(&v, w, NULL);
            if (status == WEFT_OK) {
                status = vocab_encode(v, STR_LIT("ab abc \u00FC"), 0, &ids, NULL);
            }
            mem_fail_after(-1);
            vocab_ids_deinit(&ids);
            vocab_destroy(&v);
            assert_int_equal(mem_stats_room(MEM_VOCAB).live_bytes, live);
        }
        assert_int_equal(status, WEFT_OK);
        weights_release(&w);
        mem_free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unigram_takes_the_best_sum),
        cmocka_unit_test(unigram_writes_one_unknown_for_a_run),
        cmocka_unit_test(unigram_normalises_as_the_file_says),
        cmocka_unit_test(wordpiece_takes_the_longest_piece_or_nothing),
        cmocka_unit_test(wordpiece_normalises_as_bert_does),
        cmocka_unit_test(wordpiece_knows_no_word_over_a_hundred_characters),
        cmocka_unit_test(rwkv_takes_the_longest_token_of_bytes),
        cmocka_unit_test(plamo2_takes_the_cheapest_cut_and_the_longer_token),
        cmocka_unit_test(long_runs_end_in_time),
        cmocka_unit_test(malformed_normalisers_are_refused),
        cmocka_unit_test(any_normaliser_of_the_right_size_is_safe),
        cmocka_unit_test(no_vocabulary_is_refused_by_name),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
