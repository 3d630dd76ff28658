/* Promises of text/json_reader.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "text/json_reader.h"

/* Every event of a text as one line: "{ k=a [ 1 s=x ] } $". */
static void print_events(buf *out, json_reader *r) {
    static const char *const marks[] = {
        "!", "$", "{", "}", "[", "]", "k=", "s=", "", "~", "T", "F", "N"};
    json_event event;
    buf_clear(out);
    do {
        event = json_reader_next(r);
        buf_printf(out, "%s%s", out->len > 0 ? " " : "", marks[event]);
        if (event == JSON_EVENT_KEY || event == JSON_EVENT_STRING) {
            buf_append_str(out, r->text);
        } else if (event == JSON_EVENT_INTEGER) {
            buf_printf(out, "%lld", (long long)r->integer);
        } else if (event == JSON_EVENT_REAL) {
            buf_printf(out, "%.17g", r->real);
        }
    } while (event != JSON_EVENT_END && event != JSON_EVENT_ERROR);
}

static void check_events(str text, const char *want) {
    arena memory;
    arena_init(&memory, MEM_TEST, 1u << 20);
    buf out;
    buf_init(&out, MEM_TEST, 1u << 20);
    json_reader r;
    json_reader_init(&r, text, &memory);
    print_events(&out, &r);
    assert_string_equal(buf_cstr(&out), want);
    assert_int_equal(json_reader_next(&r), r.last);
    buf_deinit(&out);
    arena_deinit(&memory);
}

static void a_document_comes_as_its_events(void **state) {
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"{\"a\": [1, \"x\"]}", "{ k=a [ 1 s=x ] } $"},
        {" [ ] ", "[ ] $"},
        {"{}", "{ } $"},
        {"[[],{},[{}]]", "[ [ ] { } [ { } ] ] $"},
        {"\t\r\n null \n", "N $"},
        {"[true,false,null]", "[ T F N ] $"},
        {"\"\"", "s= $"},
        {"{\"\":{\"b\":\"\"},\"b\":1,\"b\":2}", "{ k= { k=b s= } k=b 1 k=b 2 } $"},
        {"[0,-0,9223372036854775807,-9223372036854775808]",
         "[ 0 0 9223372036854775807 -9223372036854775808 ] $"},
        {"[0.5,-1.25e2,1E5,3e-1]", "[ ~0.5 ~-125 ~100000 ~0.29999999999999999 ] $"},
        {"[-10.123456789012345,0.1,2.2250738585072014e-308,1.7976931348623157e308]",
         "[ ~-10.123456789012344 ~0.10000000000000001 ~2.2250738585072014e-308 "
         "~1.7976931348623157e+308 ] $"},
        {"[9007199254740993.0,-9.99999999999999999]", "[ ~9007199254740992 ~-10 ] $"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "s=\"\\/\b\f\n\r\tz $"},
        {"\"\\u0041\\u00e9\\u4E2D\\ud83d\\uDE00.\"", "s=A\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80. $"},
        {"\"\xC4\xA0the \xE4\xB8\xAD\xE6\x96\x87 and \xF0\x9F\x98\x80\x7F\"",
         "s=\xC4\xA0the \xE4\xB8\xAD\xE6\x96\x87 and \xF0\x9F\x98\x80\x7F $"},
    };
    for (size_t i = 0; i < WEFT_LEN(cases); i++) {
        check_events(str_from_cstr(cases[i].text), cases[i].want);
    }
}

static void a_text_without_escapes_is_a_view_of_the_input(void **state) {
    const str text = STR_LIT("[\"plain\", \"with\\u0000nul\"]");
    arena memory;
    arena_init(&memory, MEM_TEST, 1u << 20);
    json_reader r;
    json_reader_init(&r, text, &memory);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_ARRAY);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_STRING);
    assert_ptr_equal(r.text.data, text.data + 2);
    assert_int_equal(r.from, 1);
    assert_int_equal(memory.used_bytes, 0);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_STRING);
    assert_int_equal(r.text.len, 8);
    assert_memory_equal(r.text.data, "with\0nul", 8);
    arena_deinit(&memory);
}

static void what_is_no_json_is_refused_with_its_place(void **state) {
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", "line 1, column 1: a value was expected, found the end"},
        {"[1,\n 2,]", "line 2, column 4: a value was expected"},
        {"[1 2]", "line 1, column 4: ',' or ']' was expected"},
        {"{\"a\":1", "line 1, column 7: ',' or '}' was expected, found the end"},
        {"{\"a\":1,}", "line 1, column 8: a key in quotes was expected"},
        {"{a:1}", "line 1, column 2: a key in quotes was expected"},
        {"{\"a\" 1}", "line 1, column 6: ':' was expected"},
        {"{\"a\"", "line 1, column 5: ':' was expected, found the end"},
        {"{\"a\":}", "line 1, column 6: a value was expected"},
        {"[1}", "line 1, column 3: ',' or ']' was expected"},
        {"]", "line 1, column 1: a value was expected"},
        {"1 1", "line 1, column 3: text behind the end of the document"},
        {"\xEF\xBB\xBF[]", "line 1, column 1: a value was expected"},
        {"nul", "line 1, column 1: a value was expected"},
        {"[01]", "line 1, column 2: a number begins with 0"},
        {"[-]", "line 1, column 3: a digit was expected"},
        {"[1.]", "line 1, column 4: a digit was expected"},
        {"[1e+]", "line 1, column 5: a digit was expected"},
        {"[+1]", "line 1, column 2: a value was expected"},
        {"[9223372036854775808]", "line 1, column 2: number 9223372036854775808 is too large, or "
                                  "longer than 127 characters"},
        {"[1e999]", "line 1, column 2: number 1e999 is too large, or longer than 127 characters"},
        {"[\"\xC3\xA9\", \"x]", "line 1, column 7: a string without its closing quote"},
        {"[\"\xC3\xA9\", \"x\\", "line 1, column 7: a string without its closing quote"},
        {"\"a\nb\"", "line 1, column 3: control character 0A in a string"},
        {"\"a\xC3(\"", "line 1, column 3: byte C3 in a string is not UTF-8"},
        {"\"a\xED\xA0\x80\"", "line 1, column 3: byte ED in a string is not UTF-8"},
        {"\"\\x\"", "line 1, column 2: a backslash before byte 78, which is no escape"},
        {"\"\\u12g4\"", "line 1, column 2: \\u without four hexadecimal digits"},
        {"\"\\ud800\"", "line 1, column 2: \\ud800 is half a surrogate pair"},
        {"\"\\ud800\\u0041\"", "line 1, column 2: \\ud800 is half a surrogate pair"},
        {"\"\\udc00\\ud800\"", "line 1, column 2: \\udc00 is half a surrogate pair"},
        {"// x", "line 1, column 1: a value was expected"},
    };
    arena memory;
    arena_init(&memory, MEM_TEST, 1u << 20);
    for (size_t i = 0; i < WEFT_LEN(cases); i++) {
        json_reader r;
        json_reader_init(&r, str_from_cstr(cases[i].text), &memory);
        while (json_reader_next(&r) > JSON_EVENT_END) {
        }
        weft_error err = {0};
        assert_int_equal(json_reader_status(&r, &err), WEFT_FORMAT);
        assert_string_equal(err.message, cases[i].want);
        assert_int_equal(json_reader_next(&r), JSON_EVENT_ERROR);
    }
    arena_deinit(&memory);
}

static void nesting_has_a_limit(void **state) {
    char text[2 * JSON_READER_DEPTH_MAX + 3];
    for (uint32_t extra = 0; extra < 2; extra++) {
        const uint32_t depth = JSON_READER_DEPTH_MAX + extra;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        json_reader r;
        json_reader_init(&r, str_from(text, (size_t)depth * 2), NULL);
        while (json_reader_next(&r) > JSON_EVENT_END) {
        }
        assert_int_equal(json_reader_status(&r, NULL), extra == 0 ? WEFT_OK : WEFT_FORMAT);
    }
}

static void skipping_gives_the_value_as_it_stands(void **state) {
    const str text = STR_LIT("{\"a\": {\"b\": [1, {}], \"c\": \"\\n\"} , \"d\":\"x\",\"e\":[ ]}");
    json_reader r;
    json_reader_init(&r, text, NULL);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_OBJECT);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_KEY);
    str skipped = json_reader_skip(&r);
    assert_true(str_eq_cstr(skipped, "{\"b\": [1, {}], \"c\": \"\\n\"}"));
    assert_int_equal(json_reader_next(&r), JSON_EVENT_KEY);
    assert_true(str_eq_cstr(r.text, "d"));
    assert_true(str_eq_cstr(json_reader_skip(&r), "\"x\""));
    assert_int_equal(json_reader_next(&r), JSON_EVENT_KEY);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_ARRAY);
    assert_true(str_eq_cstr(json_reader_skip(&r), "[ ]"));
    assert_int_equal(json_reader_next(&r), JSON_EVENT_OBJECT_END);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_END);

    json_reader_init(&r, STR_LIT("[[1,]]"), NULL);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_ARRAY);
    assert_null(json_reader_skip(&r).data);
    assert_int_equal(json_reader_status(&r, NULL), WEFT_FORMAT);
}

static void a_callers_error_has_the_place_of_the_last_event(void **state) {
    json_reader r;
    json_reader_init(&r, STR_LIT("{\"a\":\n  7}"), NULL);
    for (int i = 0; i < 3; i++) {
        (void)json_reader_next(&r);
    }
    weft_error err = {0};
    assert_int_equal(json_reader_fail(&r, &err, WEFT_INVALID, "a is %s, wanted a string",
                                      json_event_name(r.last)),
                     WEFT_INVALID);
    assert_string_equal(err.message, "line 2, column 3: a is a number, wanted a string");
    assert_int_equal(json_reader_next(&r), JSON_EVENT_ERROR);
}

static void without_memory_a_string_with_escapes_is_an_error(void **state) {
    arena memory;
    arena_init(&memory, MEM_TEST, 1u << 20);
    json_reader r;
    json_reader_init(&r, STR_LIT("[\"a\\n\"]"), &memory);
    (void)json_reader_next(&r);
    mem_fail_after(0);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_ERROR);
    mem_fail_after(-1);
    assert_int_equal(json_reader_status(&r, NULL), WEFT_NOMEM);
    arena_deinit(&memory);
    json_reader_init(&r, STR_LIT("[\"a\\n\"]"), NULL);
    (void)json_reader_next(&r);
    assert_int_equal(json_reader_next(&r), JSON_EVENT_ERROR);
    assert_int_equal(json_reader_status(&r, NULL), WEFT_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_comes_as_its_events),
        cmocka_unit_test(a_text_without_escapes_is_a_view_of_the_input),
        cmocka_unit_test(what_is_no_json_is_refused_with_its_place),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(skipping_gives_the_value_as_it_stands),
        cmocka_unit_test(a_callers_error_has_the_place_of_the_last_event),
        cmocka_unit_test(without_memory_a_string_with_escapes_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
