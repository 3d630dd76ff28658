/* Promises of the decoder of a tokenizer.json: what each token shows at once and what waits. That
 * the sum is the text of the package tokenizers is asked of it, in
 * tests/vocab/test_tokenizer_json.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "vocab/vocab.h"

#define FUSE "{\"type\":\"Fuse\"}"
#define REPLACE(what, with) \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" what "\"},\"content\":\"" with "\"}"
#define PATTERN(what, with) \
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"" what "\"},\"content\":\"" with "\"}"
#define STRIP(what, left, right) \
    "{\"type\":\"Strip\",\"content\":\"" what "\",\"start\":" #left ",\"stop\":" #right "}"
#define FALLBACK "{\"type\":\"ByteFallback\"}"

typedef struct stream_case {
    const char *steps;
    const char *tokens; /* a list in JSON, each of them pushed once */
    const char *shown;  /* by each push and by the flush, with a / before each but the first */
} stream_case;

static const stream_case cases[] = {
    /* of one token after the other */
    {REPLACE("_", " "), "'a_','_b'", "a / b/"},
    {PATTERN("^ ", ""), "' a',' b'", "a/b/"},
    {"{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "'a','b</w>','c</w>'", "/a/b /c"},
    {"{\"type\":\"CTC\",\"pad_token\":\"-\",\"word_delimiter_token\":\"|\",\"cleanup\":true}",
     "'a','-','b|'", "a//b /"},
    {"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", "'##a','##b','c','.'",
     "##a/b/ c/./"},
    {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}", "'__a','_b_'",
     "a/ b /"},
    {FALLBACK, "'<0xC3>','<0xA9>','a','<0x41>'", "//\u00e9a//A"},
    {FALLBACK, "'<0x41>','<0xFF>','a'", "//\uFFFD\uFFFDa/"},
    /* of the one token that grows */
    {FUSE "," REPLACE("abc", "x"), "'ab','c','a','ba'", "/x//ab/a"},
    {FUSE "," STRIP(" ", 1, 0), "' ',' a','  '", "/ a/  /"},
    {FUSE "," STRIP(" ", 0, 2), "'a ','  ',' b '", "a/ /   b/"},
    {FUSE "," PATTERN("a+b", "x"), "'ca','a','b','d'", "c//x/d/"},
    {FUSE "," PATTERN("b(?=c)", "x"), "'ab','b','c'", "a/b/xc/"},
    {FUSE "," PATTERN("(?<=a)b", "x"), "'a','b','bb'", "a/x/bb/"},
    {FUSE "," PATTERN("$", "!"), "'a','\\n','b'", "a/!\n/b/!"},
    {FUSE "," FALLBACK, "'<0x','4','1>'", "///A"},
    {FUSE "," FALLBACK, "'<0x','41>b'", "/<0x41>b/"},
    {FUSE ",{\"type\":\"ByteLevel\"}", "'\u0120a','b','\u4e2d','c'", "//\u0120ab\u4e2d/c/"},
    {FUSE ",{\"type\":\"ByteLevel\"}", "'\u0120a','b'", "// ab"},
    {"{\"type\":\"ByteLevel\"}," STRIP(" ", 1, 0), "'\u0120a','\u0120b'", "a/ b/"},
    {"{\"type\":\"ByteLevel\"}," REPLACE("\u00e9", "e"), "'\u00c3','\u00a9'", "/e/"},
};

/* Quotes of the case become JSON's. */
static vocab *create(const stream_case *c, uint32_t *count) {
    buf text;
    buf_init(&text, MEM_TEST, 4096);
    buf_printf(&text, "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s]},\"model\":{",
               c->steps);
    buf_append_cstr(&text, "\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"");
    *count = 0;
    bool is_inside = false;
    for (const char *s = c->tokens; *s != '\0'; s++) {
        if (*s != '\'') {
            buf_append(&text, s, is_inside);
        } else if (is_inside) {
            buf_printf(&text, "\":%u", (*count)++);
            buf_append_cstr(&text, s[1] == ',' ? ",\"" : "");
        }
        is_inside = is_inside != (*s == '\'');
    }
    buf_append_cstr(&text, "}}}");
    vocab *v = NULL;
    assert_int_equal(vocab_create_from_json_text(&v, buf_view(&text), "file", NULL), WEFT_OK);
    buf_deinit(&text);
    return v;
}

static void a_token_shows_what_can_no_longer_change(void **state) {
    for (size_t i = 0; i < WEFT_LEN(cases); i++) {
        uint32_t count = 0;
        vocab *v = create(&cases[i], &count);
        buf out;
        vocab_decoder d;
        buf_init(&out, MEM_TEST, 1000);
        vocab_decoder_init(&d, v, true);
        for (uint32_t id = 0; id < count; id++) {
            vocab_decoder_push(&d, (int32_t)id, &out);
            buf_append_char(&out, '/');
        }
        vocab_decoder_flush(&d, &out);
        assert_int_equal(vocab_decoder_status(&d, NULL), WEFT_OK);
        assert_string_equal(buf_cstr(&out), cases[i].shown);
        vocab_decoder_deinit(&d);
        assert_null(d.stream);
        buf_deinit(&out);
        vocab_destroy(&v);
    }
}

static void a_token_that_comes_again_is_shown_once(void **state) {
    const stream_case c = {"{\"type\":\"CTC\",\"pad_token\":\"-\",\"cleanup\":false}", "'a','-'",
                           NULL};
    uint32_t count = 0;
    vocab *v = create(&c, &count);
    static const int32_t ids[] = {0, 0, 1, 1, 0, 0};
    buf out;
    vocab_decoder d;
    buf_init(&out, MEM_TEST, 1000);
    vocab_decoder_init(&d, v, true);
    for (size_t i = 0; i < WEFT_LEN(ids); i++) {
        vocab_decoder_push(&d, ids[i], &out);
    }
    vocab_decoder_flush(&d, &out);
    assert_string_equal(buf_cstr(&out), "aa");
    vocab_decoder_deinit(&d);
    buf_deinit(&out);
    vocab_destroy(&v);
}

static void a_pattern_that_takes_too_many_steps_is_an_error(void **state) {
    const stream_case c = {FUSE "," PATTERN("(a|aa)+[cd]", ""), "'aaaaaaaaaaaaaaaa'", NULL};
    uint32_t count = 0;
    vocab *v = create(&c, &count);
    buf out;
    weft_error err;
    vocab_decoder d;
    buf_init(&out, MEM_TEST, 10000);
    vocab_decoder_init(&d, v, true);
    for (int i = 0; i < 100; i++) {
        vocab_decoder_push(&d, 0, &out);
    }
    vocab_decoder_flush(&d, &out);
    assert_int_equal(vocab_decoder_status(&d, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "(a|aa)+[cd]"));
    vocab_decoder_deinit(&d);
    buf_deinit(&out);
    vocab_destroy(&v);
}

/* Whatever fails, the text says so. */
static void running_out_of_memory_fails_the_text(void **state) {
    for (size_t i = 0; i < WEFT_LEN(cases); i++) {
        uint32_t count = 0;
        vocab *v = create(&cases[i], &count);
        const uint64_t before = mem_stats_total().live_bytes;
        bool is_whole = false;
        for (int64_t nth = 0; !is_whole && nth < 100; nth++) {
            buf out;
            buf text; /* as shown, without what stands between */
            vocab_decoder d;
            buf_init(&out, MEM_TEST, 1000);
            buf_init(&text, MEM_TEST, 1000);
            buf_reserve(&out, 500);
            mem_fail_after(nth);
            vocab_decoder_init(&d, v, true);
            for (uint32_t id = 0; id < count; id++) {
                vocab_decoder_push(&d, (int32_t)id, &out);
            }
            vocab_decoder_flush(&d, &out);
            mem_fail_after(-1);
            is_whole = !out.is_failed && vocab_decoder_status(&d, NULL) == WEFT_OK;
            for (const char *s = cases[i].shown; *s != '\0'; s++) {
                buf_append(&text, s, *s != '/');
            }
            if (is_whole) {
                assert_string_equal(buf_cstr(&out), buf_cstr(&text));
            }
            vocab_decoder_deinit(&d);
            buf_deinit(&out);
            buf_deinit(&text);
            assert_int_equal(mem_stats_total().live_bytes, before);
        }
        assert_true(is_whole);
        vocab_destroy(&v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_shows_what_can_no_longer_change),
        cmocka_unit_test(a_token_that_comes_again_is_shown_once),
        cmocka_unit_test(a_pattern_that_takes_too_many_steps_is_an_error),
        cmocka_unit_test(running_out_of_memory_fails_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
