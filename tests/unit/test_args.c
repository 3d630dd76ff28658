/* test_args.c - command lines: every kind of option, and a sentence for everything that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"

static bool is_loud;
static const char *word;
static uint32_t count;
static uint64_t big, bytes;
static float heat;
static args_list list;
static args_strings words;

static const args_option options[] = {
    {"--loud", 'l', ARGS_FLAG, &is_loud, 0, 0, NULL, "say more"},
    {"--word", 'w', ARGS_STRING, &word, 0, 0, "TEXT", "any text"},
    {"--count", 'n', ARGS_U32, &count, 1, 100, "N", "how many"},
    {"--big", 0, ARGS_U64, &big, 0, 0, "N", "a large number"},
    {"--heat", 't', ARGS_FLOAT, &heat, 0, 2, "T", "temperature"},
    {"--bytes", 0, ARGS_BYTES, &bytes, 0, 0, "SIZE", "memory"},
    {"--list", 0, ARGS_LIST, &list, 1, 64, "LIST", "numbers"},
    {"--add", 0, ARGS_STRINGS, &words, 0, 0, "TEXT", "may be repeated"},
};

static const args_command command = {
    .name = "try",
    .synopsis = "MODEL [PROMPT]",
    .summary = "Tries.",
    .example = "  weft try m.gguf",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .positionals_min = 1,
    .positionals_max = 2,
};

static int clear(void **state) {
    (void)state;
    is_loud = false;
    word = "default";
    count = 7;
    big = bytes = 0;
    heat = 1;
    list = (args_list){.count = 1, .values = {9}};
    words = (args_strings){0};
    return 0;
}

#define PARSE(result, err, ...)                                                   \
    args_parse(&command, (int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)), \
               (char *[]){__VA_ARGS__}, result, err)

#define EXPECT_REFUSED(text, ...)                                          \
    do {                                                                   \
        weft_error err = {0};                                              \
        args_result result;                                                \
        assert_int_equal(PARSE(&result, &err, __VA_ARGS__), WEFT_INVALID); \
        assert_string_equal(err.message, text);                            \
    } while (0)

static void every_kind_is_read(void **state) {
    (void)state;
    weft_error err = {0};
    args_result r;
    assert_int_equal(PARSE(&r, &err, "--loud", "--word", "hello", "model", "--count=100", "--big",
                           "18446744073709551615", "-t", "0.5", "--bytes", "1.5G", "--list",
                           "1,4,16", "--add", "a", "--add=b", "prompt"),
                     WEFT_OK);
    assert_true(is_loud);
    assert_string_equal(word, "hello");
    assert_int_equal(count, 100);
    assert_true(big == UINT64_MAX);
    assert_true(heat == 0.5f);
    assert_int_equal(bytes, (uint64_t)3 << 29);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.values[2], 16);
    assert_int_equal(words.count, 2);
    assert_string_equal(words.values[1], "b");
    assert_int_equal(r.n_positionals, 2);
    assert_string_equal(r.positionals[0], "model");
    assert_string_equal(r.positionals[1], "prompt");
    assert_false(r.wants_help);
}

static void absent_options_keep_their_defaults(void **state) {
    (void)state;
    weft_error err = {0};
    args_result r;
    assert_int_equal(PARSE(&r, &err, "model"), WEFT_OK);
    assert_false(is_loud);
    assert_string_equal(word, "default");
    assert_int_equal(count, 7);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.values[0], 9);
}

static void letters_and_equals_signs_work(void **state) {
    (void)state;
    weft_error err = {0};
    args_result r;
    assert_int_equal(PARSE(&r, &err, "-l", "-n", "3", "-w=x=y", "model"), WEFT_OK);
    assert_true(is_loud);
    assert_int_equal(count, 3);
    assert_string_equal(word, "x=y"); /* the first sign divides */
    assert_int_equal(PARSE(&r, &err, "model", "--word="), WEFT_OK);
    assert_string_equal(word, "");
    assert_int_equal(PARSE(&r, &err, "model", "--word", "--loud"), WEFT_OK);
    assert_string_equal(word, "--loud"); /* what follows is the value, whatever it looks like */
}

static void two_dashes_end_the_options(void **state) {
    (void)state;
    weft_error err = {0};
    args_result r;
    assert_int_equal(PARSE(&r, &err, "model", "--", "--loud"), WEFT_OK);
    assert_false(is_loud);
    assert_string_equal(r.positionals[1], "--loud");
    assert_int_equal(PARSE(&r, &err, "--", "-h"), WEFT_OK);
    assert_false(r.wants_help);
    assert_string_equal(r.positionals[0], "-h");
}

static void a_dash_and_negative_numbers_are_arguments(void **state) {
    (void)state;
    weft_error err = {0};
    args_result r;
    assert_int_equal(PARSE(&r, &err, "-", "-5"), WEFT_OK);
    assert_string_equal(r.positionals[0], "-");
    assert_string_equal(r.positionals[1], "-5");
}

static void help_is_asked_for_before_anything_is_checked(void **state) {
    (void)state;
    weft_error err = {0};
    args_result r;
    assert_int_equal(PARSE(&r, &err, "--nonsense", "--help"), WEFT_OK);
    assert_true(r.wants_help);
    assert_int_equal(PARSE(&r, &err, "-h"), WEFT_OK);
    assert_true(r.wants_help);
}

static void numbers_out_of_range_are_named(void **state) {
    (void)state;
    EXPECT_REFUSED("option --count is '0', wanted a whole number from 1 to 100", "m", "--count",
                   "0");
    EXPECT_REFUSED("option --count is '101', wanted a whole number from 1 to 100", "m", "-n",
                   "101");
    EXPECT_REFUSED("option --count is '5x', wanted a whole number from 1 to 100", "m",
                   "--count=5x");
    EXPECT_REFUSED("option --count is '', wanted a whole number from 1 to 100", "m", "--count=");
    EXPECT_REFUSED("option --count is '-1', wanted a whole number from 1 to 100", "m", "--count",
                   "-1");
    EXPECT_REFUSED("option --big is '18446744073709551616', wanted a whole number", "m", "--big",
                   "18446744073709551616");
    EXPECT_REFUSED("option --heat is '2.1', wanted a number from 0 to 2", "m", "-t", "2.1");
    EXPECT_REFUSED("option --heat is 'nan', wanted a number from 0 to 2", "m", "-t", "nan");
    EXPECT_REFUSED("option --heat is 'hot', wanted a number from 0 to 2", "m", "-t", "hot");
    EXPECT_REFUSED("option --bytes is '4 apples', wanted a size such as 512M or 4G", "m", "--bytes",
                   "4 apples");
    assert_int_equal(count, 7); /* nothing was written */
    assert_true(heat == 1.0f);
}

static void lists_are_checked_number_by_number(void **state) {
    (void)state;
    char many[65 * 2 + 1];
    EXPECT_REFUSED("option --list is '1,65', wanted a whole number from 1 to 64", "m", "--list",
                   "1,65");
    EXPECT_REFUSED("option --list is '1,,2', wanted a whole number from 1 to 64", "m", "--list",
                   "1,,2");
    EXPECT_REFUSED("option --list is '1,', wanted a whole number from 1 to 64", "m", "--list",
                   "1,");
    for (size_t i = 0; i < 65; i++) {
        memcpy(many + 2 * i, "1,", 3);
    }
    many[129] = 0;
    weft_error err = {0};
    args_result r;
    assert_int_equal(PARSE(&r, &err, "m", "--list", many), WEFT_INVALID);
    assert_non_null(strstr(err.message, "wanted at most 64 numbers"));
    many[127] = 0; /* 64 of them are taken */
    assert_int_equal(PARSE(&r, &err, "m", "--list", many), WEFT_OK);
    assert_int_equal(list.count, 64);
}

static void wrong_usage_is_named(void **state) {
    (void)state;
    EXPECT_REFUSED("unknown option '--nonsense' (weft try --help lists them)", "m", "--nonsense");
    EXPECT_REFUSED("unknown option '-x' (weft try --help lists them)", "m", "-x");
    EXPECT_REFUSED("unknown option '-n5' (weft try --help lists them)", "m", "-n5");
    EXPECT_REFUSED("unknown option '--cou' (weft try --help lists them)", "m", "--cou");
    EXPECT_REFUSED("option --count needs a value (N)", "m", "--count");
    EXPECT_REFUSED("option --word needs a value (TEXT)", "m", "-w");
    EXPECT_REFUSED("option --loud is 'yes', wanted no value", "m", "--loud=yes");
    EXPECT_REFUSED("an argument is missing; usage: weft try MODEL [PROMPT]", "--loud");
    EXPECT_REFUSED("unexpected argument 'three'; usage: weft try MODEL [PROMPT]", "one", "two",
                   "three");
}

static void an_option_may_be_repeated_64_times(void **state) {
    (void)state;
    char *argv[65 * 2 + 1];
    weft_error err = {0};
    args_result r;
    for (size_t i = 0; i < 65; i++) {
        argv[2 * i] = "--add";
        argv[2 * i + 1] = "x";
    }
    argv[128] = "m";
    assert_int_equal(args_parse(&command, 129, argv, &r, &err), WEFT_OK);
    assert_int_equal(words.count, 64);
    words.count = 0;
    argv[128] = "--add";
    assert_int_equal(args_parse(&command, 130, argv, &r, &err), WEFT_INVALID);
    assert_string_equal(err.message, "option --add is 'x', wanted at most 64 of this option");
}

static void no_arguments_at_all(void **state) {
    (void)state;
    weft_error err = {0};
    args_result r;
    assert_int_equal(args_parse(&command, 0, NULL, &r, &err), WEFT_INVALID);
    args_command free_of_arguments = command;
    free_of_arguments.positionals_min = 0;
    assert_int_equal(args_parse(&free_of_arguments, 0, NULL, &r, &err), WEFT_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_kind_is_read, clear),
        cmocka_unit_test_setup(absent_options_keep_their_defaults, clear),
        cmocka_unit_test_setup(letters_and_equals_signs_work, clear),
        cmocka_unit_test_setup(two_dashes_end_the_options, clear),
        cmocka_unit_test_setup(a_dash_and_negative_numbers_are_arguments, clear),
        cmocka_unit_test_setup(help_is_asked_for_before_anything_is_checked, clear),
        cmocka_unit_test_setup(numbers_out_of_range_are_named, clear),
        cmocka_unit_test_setup(lists_are_checked_number_by_number, clear),
        cmocka_unit_test_setup(wrong_usage_is_named, clear),
        cmocka_unit_test_setup(an_option_may_be_repeated_64_times, clear),
        cmocka_unit_test_setup(no_arguments_at_all, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
