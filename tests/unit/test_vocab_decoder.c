/* Promises of the streaming decoder in vocab/vocab.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "vocab_image.h"

#define SPM_BYTE(b) (3 + (b)) /* the token <0xXX> */
#define BROKEN "\xEF\xBF\xBD"

typedef struct fixture {
    vocab *vocab;
    vocab_decoder decoder;
    buf out;
} fixture;

static fixture start(bool is_spm, int adds_space, bool shows_special) {
    gguf_image g;
    gguf_image_init(&g, 3);
    const vocab_image_options options = {"gpt-2", -1, adds_space};
    if (is_spm) {
        vocab_image_spm(&g, &options);
    } else {
        vocab_image_bpe(&g, &options);
    }
    fixture f = {.vocab = vocab_image_create(&g)};
    vocab_decoder_init(&f.decoder, f.vocab, shows_special);
    buf_init(&f.out, MEM_TEST, 10000);
    return f;
}

static void stop(fixture *f) {
    vocab_decoder_deinit(&f->decoder);
    buf_deinit(&f->out);
    vocab_destroy(&f->vocab);
}

static void push_text(fixture *f, const char *token) {
    const int32_t id = vocab_find(f->vocab, str_from_cstr(token));
    assert_int_not_equal(id, VOCAB_NONE);
    vocab_decoder_push(&f->decoder, id, &f->out);
}

/* Byte tokens of the byte-level vocabulary are numbered by their byte. */
static void push_bytes(fixture *f, const char *bytes, int32_t first) {
    for (; *bytes != '\0'; bytes++) {
        vocab_decoder_push(&f->decoder, first + (uint8_t)*bytes, &f->out);
    }
}

static void byte_stand_ins_become_bytes(void **state) {
    fixture f = start(false, -1, false);
    push_text(&f, "hello");
    push_text(&f, "\u0120world");
    push_text(&f, "\u010A\u010A");
    assert_string_equal(buf_cstr(&f.out), "hello world\n\n");
    stop(&f);
}

static void half_characters_wait_for_the_other_half(void **state) {
    fixture f = start(false, -1, false);
    push_bytes(&f, "a\xF0\x9F", 0);
    assert_string_equal(buf_cstr(&f.out), "a");
    push_bytes(&f, "\x98", 0);
    assert_string_equal(buf_cstr(&f.out), "a");
    push_bytes(&f, "\x80", 0);
    assert_string_equal(buf_cstr(&f.out), "a\xF0\x9F\x98\x80");
    vocab_decoder_flush(&f.decoder, &f.out);
    assert_string_equal(buf_cstr(&f.out), "a\xF0\x9F\x98\x80");
    stop(&f);
}

/* What Python gives for bytes.decode("utf-8", errors="replace"). */
static void broken_text_is_replaced_as_one_text(void **state) {
    static const struct {
        const char *bytes;
        const char *want;
    } cases[] = {
        {"\xFF", BROKEN},
        {"a\xE4\xB8z", "a" BROKEN "z"},
        {"\xE4\xB8", BROKEN},
        {"\xF0\x9F\x98", BROKEN},
        {"\x80\x80", BROKEN BROKEN},
        {"\xE0\x80\x80", BROKEN BROKEN BROKEN},
        {"\xF0\x9F\xE4\xB8\x96", BROKEN "\xE4\xB8\x96"},
        {"\xED\xA0\x80", BROKEN BROKEN BROKEN},
        {"\xC3\xC3\xA9", BROKEN "\xC3\xA9"},
    };
    for (int is_spm = 0; is_spm < 2; is_spm++) {
        for (size_t i = 0; i < WEFT_LEN(cases); i++) {
            fixture f = start(is_spm != 0, 0, false);
            push_bytes(&f, cases[i].bytes, is_spm != 0 ? SPM_BYTE(0) : 0);
            vocab_decoder_flush(&f.decoder, &f.out);
            assert_string_equal(buf_cstr(&f.out), cases[i].want);
            stop(&f);
        }
    }
}

static void control_tokens_are_hidden_and_do_not_break_characters(void **state) {
    fixture f = start(false, -1, false);
    push_text(&f, "<|im_start|>");
    push_bytes(&f, "\xC3", 0);
    push_text(&f, "<|im_end|>");
    push_bytes(&f, "\xA9", 0);
    push_text(&f, "<tool>");
    assert_string_equal(buf_cstr(&f.out), "\xC3\xA9<tool>");
    stop(&f);
}

static void control_tokens_are_shown_on_request(void **state) {
    fixture f = start(false, -1, true);
    push_text(&f, "<|im_start|>");
    push_text(&f, "hello");
    push_text(&f, "<|im_end|>");
    assert_string_equal(buf_cstr(&f.out), "<|im_start|>hello<|im_end|>");
    stop(&f);
}

static void the_space_put_before_is_taken_away_once(void **state) {
    fixture f = start(true, 1, false);
    push_text(&f, "<s>");
    push_text(&f, "\u2581hello");
    push_text(&f, "\u2581hello");
    assert_string_equal(buf_cstr(&f.out), "hello hello");
    stop(&f);
    f = start(true, 1, false);
    push_text(&f, "\u2581\u2581");
    push_text(&f, "hello");
    assert_string_equal(buf_cstr(&f.out), " hello");
    stop(&f);
    f = start(true, 0, false);
    push_text(&f, "\u2581hello");
    assert_string_equal(buf_cstr(&f.out), " hello");
    stop(&f);
}

static void numbers_outside_the_vocabulary_are_nothing(void **state) {
    fixture f = start(false, -1, true);
    vocab_decoder_push(&f.decoder, VOCAB_NONE, &f.out);
    vocab_decoder_push(&f.decoder, VOCAB_IMAGE_BPE_COUNT, &f.out);
    vocab_decoder_push(&f.decoder, INT32_MAX, &f.out);
    assert_int_equal(f.out.len, 0);
    stop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_stand_ins_become_bytes),
        cmocka_unit_test(half_characters_wait_for_the_other_half),
        cmocka_unit_test(broken_text_is_replaced_as_one_text),
        cmocka_unit_test(control_tokens_are_hidden_and_do_not_break_characters),
        cmocka_unit_test(control_tokens_are_shown_on_request),
        cmocka_unit_test(the_space_put_before_is_taken_away_once),
        cmocka_unit_test(numbers_outside_the_vocabulary_are_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
