/* Promises of vocab/vocab.h: creating, asking, encoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab_pretok.h"
#include "vocab_image.h"

#define NO_OPTIONS ((vocab_image_options){NULL, -1, -1})

static vocab *bpe_with(vocab_image_options options) {
    gguf_image g;
    gguf_image_init(&g, 3);
    vocab_image_bpe(&g, &options);
    return vocab_image_create(&g);
}

static vocab *spm_with(vocab_image_options options) {
    gguf_image g;
    gguf_image_init(&g, 3);
    vocab_image_spm(&g, &options);
    return vocab_image_create(&g);
}

static void check_ids(const vocab *v, str text, uint32_t flags, const char *const *want,
                      size_t n_want) {
    vocab_ids ids = {0};
    weft_error err;
    assert_int_equal(vocab_encode(v, text, flags, &ids, &err), WEFT_OK);
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

/* Encoded and decoded with control tokens shown, the text is the same. */
static void check_round_trip(const vocab *v, str text) {
    vocab_ids ids = {0};
    assert_int_equal(vocab_encode(v, text, 0, &ids, NULL), WEFT_OK);
    buf out;
    buf_init(&out, MEM_TEST, 1u << 26);
    vocab_decoder d;
    vocab_decoder_init(&d, v, true);
    for (size_t i = 0; i < ids.count; i++) {
        vocab_decoder_push(&d, ids.ids[i], &out);
    }
    vocab_decoder_flush(&d, &out);
    vocab_decoder_deinit(&d);
    assert_true(str_eq(buf_view(&out), text));
    buf_deinit(&out);
    vocab_ids_deinit(&ids);
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

static void merges_go_by_rank_within_words(void **state) {
    vocab *v = bpe_with((vocab_image_options){"gpt-2", -1, -1});
    CHECK_IDS(v, "hello hello world", 0, "hello", "\u0120hello", "\u0120world");
    CHECK_IDS(v, "hell", 0, "hell");
    CHECK_IDS(v, "aaaaa", 0, "aaaa", "a");
    CHECK_IDS(v, "\n\n", 0, "\u010A\u010A");
    CHECK_IDS(v, "1234", 0, "123", "4");
    vocab_destroy(&v);
}

static void pre_tokenizers_cut_words_as_their_rules_say(void **state) {
    vocab *smollm = bpe_with((vocab_image_options){"smollm", -1, -1});
    CHECK_IDS(smollm, "123", 0, "1", "2", "3");
    vocab_destroy(&smollm);
    vocab *llama = bpe_with((vocab_image_options){"llama-bpe", 0, -1});
    CHECK_IDS(llama, "1234", 0, "123", "4");
    CHECK_IDS(llama, "aa'S", 0, "aa", "'", "S");
    vocab_destroy(&llama);
    vocab *threes = bpe_with((vocab_image_options){"superbpe", -1, -1});
    CHECK_IDS(threes, "1123123", 0, "1", "123", "123");
    CHECK_IDS(threes, "12123", 0, "12", "123");
    CHECK_IDS(threes, "1231\u00B2123", 0, "1", "2", "3", "1", "\u00C2", "\u00B2", "123");
    vocab_destroy(&threes);
}

static void some_vocabularies_normalise_their_text(void **state) {
    vocab *plain = bpe_with((vocab_image_options){"gpt-2", -1, -1});
    CHECK_IDS(plain, "e\u0301", 0, "e", "\u00CC", "\u0123");
    vocab_destroy(&plain);
    vocab *nfc = bpe_with((vocab_image_options){"qwen2", -1, -1});
    CHECK_IDS(nfc, "e\u0301", 0, "\u00C3", "\u00A9");
    CHECK_IDS(nfc, "\u1112\u1161\u11AB", 0, "\u00ED", "\u0137", "\u013E");
    CHECK_IDS(nfc, "e\u0301\xFF", 0, "\u00C3", "\u00A9", "\u00FF");
    vocab_destroy(&nfc);
}

static void every_named_pre_tokenizer_compiles_and_keeps_all_text(void **state) {
    const str texts[] = {
        {"", 0},
        STR_LIT("Hello, world's 1234567 x\u00E9\u4E16\u754C  \r\n\t \u0E01\u0301 \U0001F600\n\n!"),
        STR_LIT("ABCdef'LL 12ab <sentinel:12> $x+=1;\n    return\u3000\u30AB\u30CA '\u017F"),
        {"a\xFF\xFE b \xE4\xB8 c\x80", 11},
    };
    size_t n_names = 0;
    for (const char *name; (name = vocab_pretok_name_at(n_names)) != NULL; n_names++) {
        if (strcmp(name, "gemma4") == 0 || strcmp(name, "sarvam-moe") == 0 ||
            strcmp(name, "granite-embed-multi-311m") == 0 || strcmp(name, "mmbert") == 0 ||
            strcmp(name, "whitespace") == 0) {
            continue; /* plain text, not bytes */
        }
        vocab *v = bpe_with((vocab_image_options){name, -1, -1});
        for (size_t i = 0; i < WEFT_LEN(texts); i++) {
            vocab_ids ids = {0};
            assert_int_equal(vocab_encode(v, texts[i], 0, &ids, NULL), WEFT_OK);
            size_t bytes = 0;
            for (size_t k = 0; k < ids.count; k++) {
                buf out;
                buf_init(&out, MEM_TEST, 1000);
                vocab_decoder d;
                vocab_decoder_init(&d, v, true);
                vocab_decoder_push(&d, ids.ids[k], &out);
                bytes += out.len + d.mender.held_len;
                buf_deinit(&out);
            }
            assert_true(bytes >= texts[i].len);
            vocab_ids_deinit(&ids);
        }
        vocab_destroy(&v);
    }
    assert_true(n_names > 80);
}

static void special_tokens_are_the_longest_at_the_leftmost_place(void **state) {
    vocab *v = bpe_with((vocab_image_options){"gpt-2", -1, -1});
    CHECK_IDS(v, "<|im_start|>hello<|im_end|>", VOCAB_PARSE_SPECIAL, "<|im_start|>", "hello",
              "<|im_end|>");
    CHECK_IDS(v, "<|im<|im_end|>", VOCAB_PARSE_SPECIAL, "<|im", "<|im_end|>");
    CHECK_IDS(v, "<|im_en", VOCAB_PARSE_SPECIAL, "<|im", "_", "e", "n");
    CHECK_IDS(v, "<tool>", VOCAB_PARSE_SPECIAL, "<tool>");
    vocab_destroy(&v);
}

static void only_user_defined_tokens_are_recognised_without_parsing(void **state) {
    vocab *v = bpe_with((vocab_image_options){"gpt-2", -1, -1});
    CHECK_IDS(v, "<|im<tool>", 0, "<", "|", "i", "m", "<tool>");
    vocab_destroy(&v);
}

static void bos_and_eos_are_added_as_the_file_says(void **state) {
    vocab *silent = bpe_with((vocab_image_options){"gpt-2", -1, -1});
    CHECK_IDS(silent, "hello", VOCAB_ADD_SPECIAL, "hello");
    vocab_destroy(&silent);
    vocab *by_pre = bpe_with((vocab_image_options){"llama-bpe", -1, -1});
    CHECK_IDS(by_pre, "hello", VOCAB_ADD_SPECIAL, "<|im_start|>", "hello");
    CHECK_IDS(by_pre, "hello", 0, "hello");
    vocab_destroy(&by_pre);
    vocab *overridden = bpe_with((vocab_image_options){"llama-bpe", 0, -1});
    CHECK_IDS(overridden, "hello", VOCAB_ADD_SPECIAL, "hello");
    vocab_destroy(&overridden);
    vocab *spm = spm_with(NO_OPTIONS);
    CHECK_IDS(spm, "", VOCAB_ADD_SPECIAL, "<s>");
    vocab_destroy(&spm);
}

static void sentencepiece_merges_by_score_and_puts_a_space_before(void **state) {
    vocab *v = spm_with(NO_OPTIONS);
    CHECK_IDS(v, "hello world", 0, "\u2581hello", "\u2581world");
    CHECK_IDS(v, " hello", 0, "\u2581", "\u2581hello");
    CHECK_IDS(v, "hellohello", 0, "\u2581hello", "hello");
    CHECK_IDS(v, "</s>", 0, "\u2581", "</", "s>");
    CHECK_IDS(v, "</s>hello", VOCAB_PARSE_SPECIAL, "</s>", "\u2581hello");
    vocab_destroy(&v);
    vocab *bare = spm_with((vocab_image_options){NULL, -1, 0});
    CHECK_IDS(bare, "hello world", 0, "hello", "\u2581world");
    CHECK_IDS(bare, "hello\n\nhello", 0, "hello", "\n\n", "hello");
    vocab_destroy(&bare);
}

static void sentencepiece_falls_back_to_bytes(void **state) {
    vocab *v = spm_with((vocab_image_options){NULL, -1, 0});
    CHECK_IDS(v, "\u00E9", 0, "<0xC3>", "<0xA9>");
    CHECK_IDS(v, "\xFF", 0, "<0xEF>", "<0xBF>", "<0xBD>");
    CHECK_IDS(v, "\xE4\xB8h", 0, "<0xEF>", "<0xBF>", "<0xBD>", "<0xEF>", "<0xBF>", "<0xBD>", "h");
    CHECK_IDS(v, "<unused0>", VOCAB_PARSE_SPECIAL, "<", "<0x75>", "<0x6E>", "<0x75>", "s", "e", "d",
              "<0x30>", ">");
    vocab_destroy(&v);
}

static void ends_are_known_by_number_and_by_text(void **state) {
    vocab *bpe = bpe_with(NO_OPTIONS);
    assert_int_equal(vocab_eos(bpe), VOCAB_IMAGE_IM_END);
    assert_true(vocab_is_end(bpe, VOCAB_IMAGE_IM_END));
    assert_false(vocab_is_end(bpe, VOCAB_IMAGE_IM_START));
    assert_false(vocab_is_end(bpe, VOCAB_NONE));
    assert_false(vocab_is_end(bpe, VOCAB_IMAGE_BPE_COUNT));
    vocab_destroy(&bpe);
    vocab *spm = spm_with(NO_OPTIONS);
    const int32_t end_of_turn = vocab_find(spm, STR_LIT("<end_of_turn>"));
    assert_true(vocab_is_end(spm, end_of_turn));
    assert_true(vocab_is_control(spm, end_of_turn));
    assert_true(vocab_is_end(spm, vocab_find(spm, STR_LIT("</s>"))));
    assert_false(vocab_is_end(spm, vocab_find(spm, STR_LIT("<start_of_turn>"))));
    vocab_destroy(&spm);
}

static void every_text_comes_back(void **state) {
    vocab *bpe = bpe_with((vocab_image_options){"llama-bpe", 0, -1});
    vocab *spm = spm_with((vocab_image_options){NULL, -1, 0});
    uint64_t seed = 1;
    for (int round = 0; round < 300; round++) {
        char text[64];
        size_t len = 0;
        while (len < sizeof text - 4) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const uint32_t draw = (uint32_t)(seed >> 33);
            if (draw % 3 == 0) {
                text[len++] = "hello wrld12 \n\t'<|im"[draw / 3 % 20];
            } else {
                const uint32_t cp = draw / 3 % (draw % 2 == 0 ? 0x800 : 0xD800);
                len += utf8_encode(text + len, cp == 0x2581 || cp == 0 ? 'x' : cp);
            }
        }
        check_round_trip(bpe, str_from(text, len));
        check_round_trip(spm, str_from(text, len));
    }
    vocab_destroy(&bpe);
    vocab_destroy(&spm);
}

static void long_words_merge_like_short_ones_and_in_time(void **state) {
    enum { LEN = 1 << 19 };
    char *text = mem_alloc(MEM_TEST, LEN);
    for (size_t i = 0; i < LEN; i++) {
        text[i] = "hello"[i % 5];
    }
    vocab *bpe = bpe_with((vocab_image_options){"gpt-2", -1, -1});
    vocab *spm = spm_with((vocab_image_options){NULL, -1, 0});
    const vocab *const both[] = {bpe, spm};
    for (size_t k = 0; k < 2; k++) {
        const int32_t hello = vocab_find(both[k], STR_LIT("hello"));
        vocab_ids ids = {0};
        assert_int_equal(vocab_encode(both[k], str_from(text, LEN / 5 * 5), 0, &ids, NULL),
                         WEFT_OK);
        assert_int_equal(ids.count, LEN / 5);
        for (size_t i = 0; i < ids.count; i++) {
            assert_int_equal(ids.ids[i], hello);
        }
        vocab_ids_deinit(&ids);
    }
    vocab_destroy(&bpe);
    vocab_destroy(&spm);
    mem_free(text);
}

static void runs_of_spaces_and_digits_end_in_time(void **state) {
    enum { LEN = 1 << 16 };
    char *text = mem_alloc(MEM_TEST, LEN);
    static const char *const names[] = {"deepseek-llm", "tiny_aya", "superbpe", "afmoe",  "gpt-4o",
                                        "llama-bpe",    "kimi-k2",  "jais-2",   "default"};
    static const char fills[] = {' ', '1', 'A', '\n', '!'};
    for (size_t k = 0; k < WEFT_LEN(names); k++) {
        vocab *v = bpe_with((vocab_image_options){names[k], -1, -1});
        for (size_t f = 0; f < WEFT_LEN(fills); f++) {
            memset(text, fills[f], LEN);
            text[LEN - 1] = 'x';
            vocab_ids ids = {0};
            assert_int_equal(vocab_encode(v, str_from(text, LEN), 0, &ids, NULL), WEFT_OK);
            vocab_ids_deinit(&ids);
        }
        vocab_destroy(&v);
    }
    mem_free(text);
}

static void unknown_models_and_pre_tokenizers_are_refused_by_name(void **state) {
    weft_error err;
    gguf_image g;
    gguf_image_init(&g, 3);
    vocab_image_bpe(&g, &(vocab_image_options){"no-such-rule", -1, -1});
    assert_int_equal(create_status(&g, &err), WEFT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no-such-rule"));

    gguf_image_init(&g, 3);
    gguf_image_str(&g, "tokenizer.ggml.model", "plamo9");
    assert_int_equal(create_status(&g, &err), WEFT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "plamo9"));

    gguf_image_init(&g, 3);
    assert_int_equal(create_status(&g, &err), WEFT_FORMAT);
    assert_non_null(strstr(err.message, "tokenizer.ggml.model"));
}

static void malformed_metadata_is_refused(void **state) {
    static const char *const tokens[] = {"a", "b"};
    weft_error err;
    for (int what = 0; what < 6; what++) {
        gguf_image g;
        gguf_image_init(&g, 3);
        gguf_image_str(&g, "tokenizer.ggml.model", what == 5 ? "gpt2" : "llama");
        if (what == 0) {
            gguf_image_int(&g, "tokenizer.ggml.tokens", META_U32, 1);
        } else {
            gguf_image_strs(&g, "tokenizer.ggml.tokens", tokens, what == 1 ? 0 : 2);
        }
        if (what == 2) {
            gguf_image_floats(&g, "tokenizer.ggml.scores", (const float[]){1}, 1);
        }
        if (what == 3) {
            gguf_image_ints(&g, "tokenizer.ggml.token_type", META_I32, (const int64_t[]){1, 99}, 2);
        }
        if (what == 4) {
            gguf_image_strs(&g, "tokenizer.ggml.token_type", tokens, 2);
        }
        assert_int_not_equal(create_status(&g, &err), WEFT_OK);
        assert_non_null(strstr(err.message, "tokenizer.ggml."));
    }
}

static void running_out_of_memory_leaks_nothing(void **state) {
    gguf_image g;
    gguf_image_init(&g, 3);
    vocab_image_bpe(&g, &(vocab_image_options){"gpt-2", -1, -1});
    size_t len;
    uint8_t *bytes = gguf_image_finish(&g, &len);
    gguf_image_deinit(&g);
    weights *w = NULL;
    assert_int_equal(weights_open_memory(&w, bytes, len, "vocabulary", NULL), WEFT_OK);
    const uint64_t before = mem_stats_total().live_bytes;
    weft_status status = WEFT_NOMEM;
    for (int64_t nth = 0; status != WEFT_OK; nth++) {
        vocab *v = NULL;
        vocab_ids ids = {0};
        mem_fail_after(nth);
        status = vocab_create(&v, w, NULL);
        if (status == WEFT_OK) {
            status = vocab_encode(v,
                                  STR_LIT("hello world, a text <tool> of some length: "
                                          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                                  VOCAB_ADD_SPECIAL, &ids, NULL);
            assert_true(status == WEFT_OK || ids.count == 0);
        }
        mem_fail_after(-1);
        vocab_ids_deinit(&ids);
        vocab_destroy(&v);
        assert_int_equal(mem_stats_total().live_bytes, before);
        assert_true(nth < 10000);
    }
    weights_release(&w);
    mem_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank_within_words),
        cmocka_unit_test(pre_tokenizers_cut_words_as_their_rules_say),
        cmocka_unit_test(some_vocabularies_normalise_their_text),
        cmocka_unit_test(every_named_pre_tokenizer_compiles_and_keeps_all_text),
        cmocka_unit_test(special_tokens_are_the_longest_at_the_leftmost_place),
        cmocka_unit_test(only_user_defined_tokens_are_recognised_without_parsing),
        cmocka_unit_test(bos_and_eos_are_added_as_the_file_says),
        cmocka_unit_test(sentencepiece_merges_by_score_and_puts_a_space_before),
        cmocka_unit_test(sentencepiece_falls_back_to_bytes),
        cmocka_unit_test(ends_are_known_by_number_and_by_text),
        cmocka_unit_test(every_text_comes_back),
        cmocka_unit_test(long_words_merge_like_short_ones_and_in_time),
        cmocka_unit_test(runs_of_spaces_and_digits_end_in_time),
        cmocka_unit_test(unknown_models_and_pre_tokenizers_are_refused_by_name),
        cmocka_unit_test(malformed_metadata_is_refused),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
