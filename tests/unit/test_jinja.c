/* test_jinja.c - the template interpreter against jinja2, and its own promises.
 *
 * tests/golden/jinja/cases.json holds templates and what jinja2 makes of them; every one is
 * rendered here. The table below has the examples of jinja2's own documentation. The rest is
 * what jinja2 does not promise: positions in messages, bounds, and behaviour without memory.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "text/jinja.h"

#define NOW 1700000000 /* 2023-11-14 22:13:20 UTC */

/* Renders and gives the status; text holds the output or the message. */
static weft_status render(const char *source, size_t len, const char *variables,
                          const jinja_options *options, buf *text) {
    jinja *j = NULL;
    weft_error err = {0};
    buf_clear(text);
    weft_status status = jinja_compile(&j, str_from(source, len), "t", &err);
    if (status == WEFT_OK) {
        status = jinja_render(j, str_from_cstr(variables), options, text, &err);
    }
    jinja_destroy(&j);
    if (status != WEFT_OK) {
        assert_int_equal(text->len, 0);
        buf_append_cstr(text, err.message);
    }
    return status;
}

static void expect(const char *source, const char *variables, weft_status wanted,
                   const char *wanted_text) {
    const jinja_options options = {.now_unix_s = NOW};
    buf text;
    buf_init(&text, MEM_TEST, JINJA_OUTPUT_BYTES_MAX);
    const weft_status status = render(source, strlen(source), variables, &options, &text);
    if (status != wanted || strcmp(buf_cstr(&text), wanted_text) != 0) {
        print_error("template: %s\n", source);
    }
    assert_string_equal(buf_cstr(&text), wanted_text);
    assert_int_equal(status, wanted);
    buf_deinit(&text);
}

static void every_golden_case_renders_as_jinja2_does(void **state) {
    json_error_t why;
    json_t *file = json_load_file(TESTS_DIR "/golden/jinja/cases.json", 0, &why);
    assert_non_null(file);
    char *variables = json_dumps(json_object_get(file, "variables"), JSON_COMPACT);
    const json_t *cases = json_object_get(file, "cases");
    const jinja_options options = {.now_unix_s = NOW};
    size_t n_different = 0;
    buf text;
    buf_init(&text, MEM_TEST, JINJA_OUTPUT_BYTES_MAX);
    assert_true(json_array_size(cases) > 200);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *source = json_object_get(json_array_get(cases, i), "template");
        const json_t *want = json_object_get(json_array_get(cases, i), "want");
        const weft_status status = render(json_string_value(source), json_string_length(source),
                                          variables, &options, &text);
        const bool is_same =
            json_is_null(want)
                ? status != WEFT_OK
                : status == WEFT_OK && str_eq_cstr(buf_view(&text), json_string_value(want));
        if (!is_same) {
            print_error("template: %s\nwant: %s\ngot: %s\n", json_string_value(source),
                        json_is_null(want) ? "(a failure)" : json_string_value(want),
                        buf_cstr(&text));
            n_different++;
        }
    }
    assert_int_equal(n_different, 0);
    buf_deinit(&text);
    free(variables);
    json_decref(file);
}

typedef struct example {
    const char *source;
    const char *want;
} example;

/* The examples in the documentation of jinja2's filters and tests. */
static const example documented[] = {
    {"{{ 'Hello World'|replace('Hello', 'Goodbye') }}", "Goodbye World"},
    {"{{ 'aaaaargh'|replace('a', \"d'oh, \", 2) }}", "d'oh, d'oh, aaargh"},
    {"<ul{{ {'class': 'my_list', 'missing': none, 'id': 'list-%d'|format(42)}|xmlattr }}>",
     "<ul class=\"my_list\" id=\"list-42\">"},
    {"{{ [1, 2, 3]|min }}{{ [1, 2, 3]|max }}", "13"},
    {"{{ my_variable|default('my_variable is not defined') }}", "my_variable is not defined"},
    {"{{ ''|default('the string was empty', true) }}", "the string was empty"},
    {"{{ [1, 2, 3]|join('|') }} {{ [1, 2, 3]|join }}", "1|2|3 123"},
    {"{{ users|join(', ', attribute='name') }}", "Ann, Bob, Cy"},
    {"{{ ['foo', 'bar', 'foobar', 'FooBar']|unique|list }}", "['foo', 'bar', 'foobar']"},
    {"{{ 'foo bar baz qux'|truncate(9) }}", "foo..."},
    {"{{ 'foo bar baz qux'|truncate(9, True) }}", "foo ba..."},
    {"{{ 'foo bar baz qux'|truncate(11) }}", "foo bar baz qux"},
    {"{{ 'foo bar baz qux'|truncate(11, False, '...', 0) }}", "foo bar..."},
    {"{{ '%s, %s!'|format('Hello', 'World') }}", "Hello, World!"},
    {"{{ '%s, %s!' % ('Hello', 'World') }} {{ '{}, {}!'.format('Hello', 'World') }}",
     "Hello, World! Hello, World!"},
    {"{{ 42.55|round }} {{ 42.55|round(1, 'floor') }} {{ 42.55|round|int }}", "43.0 42.5 43"},
    {"{% for c, m in users|groupby('city') %}{{ c }}: {{ m|map(attribute='name')|join(' ') }}; "
     "{% endfor %}",
     "Oslo: Cy; Rome: Ann Bob; "},
    {"{% for g in users|groupby('city') %}{{ g.grouper }} {{ g.list|length }} {% endfor %}",
     "Oslo 1 Rome 2 "},
    {"Total: {{ users|sum(attribute='age') }}", "Total: 90"},
    {"{{ users|map(attribute='mail', default='none')|join(' ') }}", "a@x none none"},
    {"{{ ['A', 'B']|map('lower')|join(', ') }}", "a, b"},
    {"{{ [1, 2, 3, 4]|select('odd')|list }} {{ [1, 2, 3, 4]|select('divisibleby', 2)|list }} "
     "{{ [1, 50]|select('lessthan', 42)|list }} {{ ['a', 'b']|select('equalto', 'b')|list }}",
     "[1, 3] [2, 4] [1] ['b']"},
    {"{{ [1, 2, 3]|reject('odd')|list }}", "[2]"},
    {"{{ users|selectattr('mail')|map(attribute='name')|list }} "
     "{{ users|rejectattr('mail')|map(attribute='name')|list }}",
     "['Ann'] ['Bob', 'Cy']"},
    {"{% for k, v in {'b': 1, 'A': 2}|dictsort %}{{ k }}{{ v }}{% endfor %}", "A2b1"},
    {"{% for u in users|sort(attribute='name')|sort(reverse=true, attribute='age') %}"
     "{{ u.name }} {% endfor %}",
     "Bob Ann Cy "},
    {"{%- for column in [1, 2, 3, 4, 5]|slice(3) %}{{ column }}{% endfor %}", "[1, 2][3, 4][5]"},
    {"{%- for row in [1, 2, 3, 4, 5]|batch(3, '&nbsp;') %}{{ row }}{% endfor %}",
     "[1, 2, 3][4, 5, '&nbsp;']"},
    {"{% if false is sameas false %}the False singleton{% endif %}", "the False singleton"},
    {"{{ {'b': 1, 'A': 2}|dictsort(true) }} {{ {'b': 1, 'A': 2}|dictsort(false, 'value') }} "
     "{{ {'b': 1, 'A': 2}|dictsort(reverse=true) }}",
     "[('A', 2), ('b', 1)] [('b', 1), ('A', 2)] [('b', 1), ('A', 2)]"},
    {"{% for key, value in {'a': 1, 'b': 2}|items %}{{ key }}{{ value }}{% endfor %}"
     "{% for k, v in nothing|items %}{% else %} none{% endfor %}",
     "a1b2 none"},
    {"{% for u in users|sort(attribute='city,age') %}{{ u.name }} {% endfor %}", "Cy Ann Bob "},
    {"{% for mail, m in users|groupby('mail', default='?') %}{{ mail }}: {{ m|length }}; "
     "{% endfor %}",
     "?: 2; a@x: 1; "},
    {"{{ 'see http://example.com/a_long_path, please'|urlize(18, true) }}",
     "see <a href=\"http://example.com/a_long_path\" rel=\"nofollow noopener\">"
     "http://example.com...</a>, please"},
    {"{{ 'www.example.com'|urlize(target='_blank') }}",
     "<a href=\"https://www.example.com\" rel=\"noopener\" target=\"_blank\">www.example.com</a>"},
    {"{{ {'b': 1, 'a': [1, 2]}|pprint }}", "{'a': [1, 2], 'b': 1}"},
    {"{% if 'upper' is filter %}{{ 'x'|upper }}{% endif %}{% if 'markdown' is filter %}y{% endif %}"
     "{% if 'loud' is test %}z{% endif %}",
     "X"},
    {"{{ 7 is divisibleby 3 }} {{ 'a' is in ['a'] }} {{ x is undefined }}", "False True True"},
};

static void documented_examples_hold(void **state) {
    for (size_t i = 0; i < WEFT_LEN(documented); i++) {
        expect(documented[i].source,
               "{\"users\": [{\"name\": \"Ann\", \"age\": 30, \"city\": \"Rome\", \"mail\": "
               "\"a@x\"}, {\"name\": \"Bob\", \"age\": 35, \"city\": \"Rome\"}, {\"name\": \"Cy\","
               " \"age\": 25, \"city\": \"Oslo\"}]}",
               WEFT_OK, documented[i].want);
    }
}

/* Where jinja2 picks any item, a prompt must come out the same every time. */
static void random_picks_the_same_in_every_render(void **state) {
    static const char source[] = "{% for i in range(12) %}{{ 'abcdef'|random }}{% endfor %}";
    expect(source, "{}", WEFT_OK, "babebafcfcbe");
    expect("{{ []|random }}{{ (1,)|random }}{{ range(9, 10)|random }}", "{}", WEFT_OK, "19");
    expect("{{ {'a': 1}|random }}", "{}", WEFT_INVALID,
           "t: line 1, column 13: random needs a sequence, not 'dict'");
}

static void messages_point_at_line_and_column(void **state) {
    expect("a\nb {% nope %}", "{}", WEFT_FORMAT,
           "t: line 2, column 6: encountered unknown tag 'nope'");
    expect("\xC3\xA9\xC3\xA9 {{ 1 + }}", "{}", WEFT_FORMAT,
           "t: line 1, column 11: unexpected 'end of print statement'");
    expect("{{ x.y }}", "{}", WEFT_INVALID, "t: line 1, column 5: 'x' is undefined");
    expect("{{ d.y.z }}", "{\"d\": {}}", WEFT_INVALID,
           "t: line 1, column 7: 'dict object' has no attribute 'y'");
    expect("{{ raise_exception('no ' ~ d) }}", "{\"d\": 1}", WEFT_INVALID,
           "t: line 1, column 19: no 1");
    expect("{% include 'x' %}", "{}", WEFT_UNSUPPORTED,
           "t: line 1, column 4: the tag 'include' is not supported");
    expect("a\n{% autoescape true %}{% endautoescape %}", "{}", WEFT_UNSUPPORTED,
           "t: line 2, column 4: the tag 'autoescape' is not supported");
    expect("{{ lipsum() }}", "{}", WEFT_UNSUPPORTED,
           "t: line 1, column 10: the function lipsum is not supported");
    expect("{{ 9223372036854775807 + n }}", "{\"n\": 1}", WEFT_INVALID,
           "t: line 1, column 24: the integer result does not fit in 64 bits");
    expect("{{ 1e19 | int }}", "{}", WEFT_INVALID,
           "t: line 1, column 11: the integer does not fit in 64 bits");
    expect("{{ 9223372036854775808 }}", "{}", WEFT_FORMAT,
           "t: line 1, column 4: the integer does not fit in 64 bits");
}

static void variables_must_be_an_object(void **state) {
    expect("x", "[]", WEFT_INVALID, "variables must be a JSON object");
    expect("x", "{", WEFT_INVALID,
           "variables are not valid JSON: line 1, column 2: a key in quotes was expected, found "
           "the end");
}

static void source_must_be_utf8(void **state) {
    expect("a\xFFz", "{}", WEFT_FORMAT, "t: the template is not valid UTF-8");
}

static void time_is_formatted_as_asked(void **state) {
    setenv("TZ", "UTC", 1);
    tzset();
    expect("{{ strftime_now('%d %b %Y %H:%M%%') }}", "{}", WEFT_OK, "14 Nov 2023 22:13%");
    expect("{{ strftime_now('') }}", "{}", WEFT_OK, "");
}

/* Every way to run away ends with WEFT_LIMIT, soon. */
static void hostile_templates_meet_their_bounds(void **state) {
    static const char *const hostile[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(99) %}"
        "{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{{ 'x' * 1000000000000 }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}"
        "{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}"
        "{% endfor %}{{ ns.x | tojson }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'x' | center(100000000000) }}",
        "{{ '{:>99999999}'.format(1) }}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    };
    const jinja_options options = {.steps_max = 1000000, .memory_bytes_max = 32u << 20};
    buf text;
    buf_init(&text, MEM_TEST, JINJA_OUTPUT_BYTES_MAX);
    for (size_t i = 0; i < WEFT_LEN(hostile); i++) {
        const weft_status status = render(hostile[i], strlen(hostile[i]), "{}", &options, &text);
        if (status != WEFT_LIMIT) {
            print_error("template: %s: %s\n", hostile[i], buf_cstr(&text));
        }
        assert_int_equal(status, WEFT_LIMIT);
    }
    buf_deinit(&text);
}

static void deep_nesting_is_refused(void **state) {
    const char *const openings[] = {"{{ ", "{% if a %}", "{{ -", "{{ a if ", "{{ a is b(", "{{ "};
    const char *const repeated[] = {"(", "{% if a %}", "-", "b else a if ", "a is b(", "a["};
    const jinja_options options = {0};
    buf source;
    buf text;
    buf_init(&source, MEM_TEST, 1 << 20);
    buf_init(&text, MEM_TEST, 1 << 20);
    for (size_t i = 0; i < WEFT_LEN(openings); i++) {
        buf_clear(&source);
        buf_append_cstr(&source, openings[i]);
        for (int k = 0; k < 5000; k++) {
            buf_append_cstr(&source, repeated[i]);
        }
        const weft_status status = render(buf_cstr(&source), source.len, "{}", &options, &text);
        assert_true(status == WEFT_LIMIT || status == WEFT_FORMAT);
    }
    buf_clear(&source);
    buf_append_cstr(&source, "{{ 1");
    for (int k = 0; k < 5000; k++) { /* no nesting for the parser, but deep to evaluate */
        buf_append_cstr(&source, " + 1");
    }
    buf_append_cstr(&source, " }}");
    assert_int_equal(render(buf_cstr(&source), source.len, "{}", &options, &text), WEFT_LIMIT);
    buf_deinit(&source);
    buf_deinit(&text);
}

static void mentions_knows_the_variables(void **state) {
    jinja *j = NULL;
    assert_int_equal(
        jinja_compile(&j, STR_LIT("tools {% if tools %}{{ x.y }}{% endif %}"), "t", NULL), WEFT_OK);
    assert_true(jinja_mentions(j, "tools"));
    assert_true(jinja_mentions(j, "x"));
    assert_false(jinja_mentions(j, "y"));
    jinja_destroy(&j);
    assert_null(j);
    jinja_destroy(&j);
}

static void output_is_appended_and_a_template_renders_again(void **state) {
    jinja *j = NULL;
    weft_error err;
    buf out;
    buf_init(&out, MEM_TEST, 100);
    buf_append_cstr(&out, ">");
    assert_int_equal(jinja_compile(&j, STR_LIT("{% set a = b %}{{ a }}"), "t", &err), WEFT_OK);
    assert_int_equal(jinja_render(j, STR_LIT("{\"b\": 1}"), NULL, &out, &err), WEFT_OK);
    assert_int_equal(jinja_render(j, STR_LIT("{}"), NULL, &out, &err), WEFT_OK);
    assert_int_equal(jinja_render(j, STR_LIT("{\"b\": \"x\"}"), NULL, &out, &err), WEFT_OK);
    assert_string_equal(buf_cstr(&out), ">1x");
    buf_deinit(&out);
    jinja_destroy(&j);
}

static void without_memory_it_fails_cleanly(void **state) {
    static const char source[] = "{% macro m(a) %}{{ a | upper }}{% endmacro %}{% for i in x %}"
                                 "{{ m(i) }}{{ {'a': [i]} | tojson }}{% endfor %}";
    const jinja_options options = {0};
    const uint64_t live = mem_stats_room(MEM_TEXT).live_bytes;
    buf text;
    buf_init(&text, MEM_TEST, 1 << 20);
    bool is_done = false;
    for (int64_t nth = 0; nth < 1000 && !is_done; nth++) {
        mem_fail_after(nth);
        const weft_status status =
            render(source, sizeof(source) - 1, "{\"x\": [\"a\", \"b\"]}", &options, &text);
        mem_fail_after(-1);
        is_done = status == WEFT_OK;
        assert_true(is_done || status == WEFT_NOMEM || status == WEFT_LIMIT);
        assert_int_equal(mem_stats_room(MEM_TEXT).live_bytes, live);
    }
    assert_true(is_done);
    assert_string_equal(buf_cstr(&text), "A{\"a\": [\"a\"]}B{\"a\": [\"b\"]}");
    buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_case_renders_as_jinja2_does),
        cmocka_unit_test(documented_examples_hold),
        cmocka_unit_test(random_picks_the_same_in_every_render),
        cmocka_unit_test(messages_point_at_line_and_column),
        cmocka_unit_test(variables_must_be_an_object),
        cmocka_unit_test(source_must_be_utf8),
        cmocka_unit_test(time_is_formatted_as_asked),
        cmocka_unit_test(hostile_templates_meet_their_bounds),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(mentions_knows_the_variables),
        cmocka_unit_test(output_is_appended_and_a_template_renders_again),
        cmocka_unit_test(without_memory_it_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
