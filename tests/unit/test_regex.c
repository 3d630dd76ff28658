/* Promises of text/regex.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "text/regex.h"
#include "text/utf8.h"

typedef struct fixture {
    regex *regex;
    regex_scratch *scratch;
} fixture;

static fixture compile(const char *pattern) {
    fixture f = {0};
    weft_error err;
    assert_int_equal(regex_compile(&f.regex, str_from_cstr(pattern), &err), WEFT_OK);
    assert_int_equal(regex_scratch_create(&f.scratch, &err), WEFT_OK);
    return f;
}

static void release(fixture *f) {
    regex_destroy(&f->regex);
    regex_scratch_destroy(&f->scratch);
    assert_null(f->regex);
    assert_null(f->scratch);
}

static bool matches(const fixture *f, str text) {
    size_t from;
    size_t to;
    return regex_find(f->regex, f->scratch, text, 0, &from, &to) && from == 0 && to == text.len;
}

static void white_space_is_the_unicode_property(void **state) {
    fixture outside = compile("\\s");
    fixture negated = compile("\\S");
    fixture in_class = compile("[^\\sx]");
    for (uint32_t cp = 1; cp < 0x3100; cp++) {
        char bytes[4];
        const str s = str_from(bytes, utf8_encode(bytes, cp));
        const bool is_space = (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xA0 ||
                              cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
                              cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
        assert_int_equal(matches(&outside, s), is_space);
        assert_int_equal(matches(&negated, s), !is_space);
        assert_int_equal(matches(&in_class, s), !is_space && cp != 'x');
    }
    release(&outside);
    release(&negated);
    release(&in_class);
}

static void matching_starts_where_asked_and_sees_what_is_before(void **state) {
    fixture f = compile("(?<!a)b+");
    size_t from;
    size_t to;
    assert_true(regex_find(f.regex, f.scratch, STR_LIT("abb bb"), 0, &from, &to));
    assert_int_equal(from, 2);
    assert_int_equal(to, 3);
    assert_true(regex_find(f.regex, f.scratch, STR_LIT("abb bb"), 3, &from, &to));
    assert_int_equal(from, 4);
    assert_int_equal(to, 6);
    assert_false(regex_find(f.regex, f.scratch, STR_LIT("abb bb"), 6, &from, &to));
    assert_false(regex_find(f.regex, f.scratch, STR_LIT(""), 0, &from, &to));
    release(&f);
}

static void matches_may_be_empty(void **state) {
    fixture f = compile("(?=x)");
    size_t from;
    size_t to;
    assert_true(regex_find(f.regex, f.scratch, STR_LIT("abx"), 0, &from, &to));
    assert_int_equal(from, 2);
    assert_int_equal(to, 2);
    release(&f);
}

static void classes_and_case_folding_know_unicode(void **state) {
    fixture f = compile("\\p{L}+\\p{N}(?i:'s)");
    assert_true(matches(&f, STR_LIT("\xC3\xA9t\xC3\xA9\xE4\xB8\x96\xC2\xBD'S")));
    assert_true(matches(&f, STR_LIT("x1'\xC5\xBF"))); /* U+017F folds to s */
    assert_false(matches(&f, STR_LIT("x1'x")));
    release(&f);
}

static void deep_backtracking_over_a_long_text_ends(void **state) {
    enum { LEN = 1 << 20 };
    char *text = mem_alloc(MEM_TEST, LEN);
    memset(text, 'A', LEN);
    fixture f = compile("(?:(?!\\p{sc:Han})\\p{Lu})*z|\\p{Lu}+");
    size_t from;
    size_t to;
    assert_true(regex_find(f.regex, f.scratch, str_from(text, 1000), 0, &from, &to));
    assert_int_equal(to, 1000);
    (void)regex_find(f.regex, f.scratch, str_from(text, LEN), 0, &from, &to);
    release(&f);
    mem_free(text);
}

static void giving_up_is_an_error_and_no_match(void **state) {
    char text[200];
    memset(text, 'a', sizeof text);
    fixture f = compile("(a|aa)+[cd]");
    size_t from;
    size_t to;
    weft_error err;
    assert_false(regex_find(f.regex, f.scratch, STR_LIT("aab"), 0, &from, &to));
    assert_int_equal(regex_scratch_status(f.scratch, &err), WEFT_OK);
    assert_false(regex_find(f.regex, f.scratch, str_from(text, sizeof text), 0, &from, &to));
    assert_int_equal(regex_scratch_status(f.scratch, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "'(a|aa)+[cd]'"));
    assert_false(regex_find(f.regex, f.scratch, STR_LIT("aac"), 0, &from, &to));
    release(&f);
}

static void classes_are_those_of_oniguruma(void **state) {
    fixture hex = compile("\\h+");
    assert_true(matches(&hex, STR_LIT("09afAF")));
    assert_false(matches(&hex, STR_LIT(" ")));
    release(&hex);
    fixture letters = compile("[^\\W\\d_]+");
    assert_true(matches(&letters, STR_LIT("ab\u00E9\u4E16")));
    assert_false(matches(&letters, STR_LIT("ab1")));
    release(&letters);
    fixture both = compile("[\\p{L}&&[^\\p{Han}x]]+");
    assert_true(matches(&both, STR_LIT("ab\u30AB")));
    assert_false(matches(&both, STR_LIT("ab\u4E16")));
    assert_false(matches(&both, STR_LIT("x")));
    release(&both);
    fixture border = compile("a\\b.\\B");
    assert_true(matches(&border, STR_LIT("a.")));
    assert_false(matches(&border, STR_LIT("a\u0301"))); /* a mark goes on with the word */
    release(&border);
}

static void bad_patterns_are_named(void **state) {
    regex *r = NULL;
    weft_error err;
    assert_int_equal(regex_compile(&r, STR_LIT("a(b"), &err), WEFT_FORMAT);
    assert_non_null(strstr(err.message, "a(b"));
    assert_null(r);
}

static void running_out_of_memory_leaks_nothing(void **state) {
    const uint64_t before = mem_stats_total().live_bytes;
    weft_status status = WEFT_NOMEM;
    for (int64_t nth = 0; status != WEFT_OK; nth++) {
        regex *r = NULL;
        regex_scratch *s = NULL;
        mem_fail_after(nth);
        status = regex_compile(&r, STR_LIT("\\s+|\\p{Han}|[^\\W[a]&&\\h]"), NULL);
        if (status == WEFT_OK) {
            status = regex_scratch_create(&s, NULL);
        }
        mem_fail_after(-1);
        regex_scratch_destroy(&s);
        regex_destroy(&r);
        assert_int_equal(mem_stats_total().live_bytes, before);
    }
}

/* Searched again whenever a character has come, the text shows the matches of the whole. */
static void a_growing_text_has_the_matches_of_the_whole(void **state) {
    static const char *const patterns[] = {
        "a+",      "a+b",  "b(?=c)", "b(?!c)", "(?<=a)b",    "\\bb", "^",   "$",       "a|ab",
        "(?:ab)+", "a.*c", "a.*?c",  "",       "(?<!a)[bc]", "\\Z",  "\\A", "\\G[ab]", "\\w+ ?",
    };
    const str text = STR_LIT("aab abc\u00e9ab\nabcabb c");
    for (size_t i = 0; i < WEFT_LEN(patterns); i++) {
        fixture f = compile(patterns[i]);
        regex_walk whole = {0};
        regex_walk parts = {0};
        bool is_more = true;
        for (size_t len = 1; is_more; len += len < text.len) {
            const bool is_last = len == text.len;
            const str so_far = str_slice(text, 0, len);
            while (is_more && utf8_is_valid(so_far) &&
                   (is_last
                        ? regex_walk_next(&parts, f.regex, f.scratch, so_far)
                        : regex_walk_growing(&parts, f.regex, f.scratch, so_far) == REGEX_MATCH)) {
                is_more = regex_walk_next(&whole, f.regex, f.scratch, text);
                assert_true(is_more);
                assert_int_equal(parts.from, whole.from);
                assert_int_equal(parts.to, whole.to);
            }
            is_more = is_more && !is_last;
        }
        assert_false(regex_walk_next(&whole, f.regex, f.scratch, text));
        release(&f);
    }
}

static void a_growing_text_keeps_back_what_is_open(void **state) {
    static const struct {
        const char *pattern;
        const char *text;
        regex_found wanted;
        size_t from;
    } finds[] = {
        {"a+b", "xaa", REGEX_UNDECIDED, 1}, {"a+b", "xaab", REGEX_MATCH, 1},
        {"a+", "xaa", REGEX_UNDECIDED, 1},  {"a+?", "xaa", REGEX_MATCH, 1},
        {"ab|abc", "ab", REGEX_MATCH, 0},   {"abc|ab", "ab", REGEX_UNDECIDED, 0},
        {"$", "x", REGEX_UNDECIDED, 1},     {"c", "ab", REGEX_NONE, 0},
    };
    for (size_t i = 0; i < WEFT_LEN(finds); i++) {
        fixture f = compile(finds[i].pattern);
        size_t from = 0;
        size_t to = 0;
        assert_int_equal(
            regex_find_growing(f.regex, f.scratch, str_from_cstr(finds[i].text), 0, &from, &to),
            finds[i].wanted);
        assert_int_equal(from, finds[i].from);
        release(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_is_the_unicode_property),
        cmocka_unit_test(matching_starts_where_asked_and_sees_what_is_before),
        cmocka_unit_test(matches_may_be_empty),
        cmocka_unit_test(a_growing_text_has_the_matches_of_the_whole),
        cmocka_unit_test(a_growing_text_keeps_back_what_is_open),
        cmocka_unit_test(classes_and_case_folding_know_unicode),
        cmocka_unit_test(deep_backtracking_over_a_long_text_ends),
        cmocka_unit_test(giving_up_is_an_error_and_no_match),
        cmocka_unit_test(classes_are_those_of_oniguruma),
        cmocka_unit_test(bad_patterns_are_named),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
