/* test_chat.c - requests become prompts.
 *
 * Small templates of our own stand in for models: one in ChatML that wants strings, one that
 * walks through parts, one that shows everything it is given.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "vocab/chat.h"

static const char chatml[] =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";
static const char trimming[] = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}";
static const char parts[] =
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}({{ p.text if p.type == 'text' else p.type }}){% endfor %}{% endif %}"
    "{% endfor %}";

static weft_status apply(const char *template_source, const char *request, buf *text) {
    chat *c = NULL;
    weft_error err = {0};
    buf_clear(text);
    weft_status status =
        chat_create(&c, str_from_cstr(template_source), STR_LIT("<s>"), STR_LIT("</s>"), &err);
    if (status == WEFT_OK) {
        status = chat_apply(c, str_from_cstr(request), text, &err);
    }
    chat_destroy(&c);
    if (status != WEFT_OK) {
        assert_int_equal(text->len, 0);
        buf_append_cstr(text, err.message);
    }
    return status;
}

static void expect(const char *template_source, const char *request, weft_status wanted,
                   const char *wanted_text) {
    buf text;
    buf_init(&text, MEM_TEST, 1 << 20);
    const weft_status status = apply(template_source, request, &text);
    assert_string_equal(buf_cstr(&text), wanted_text);
    assert_int_equal(status, wanted);
    buf_deinit(&text);
}

static void messages_are_rendered_with_a_generation_prompt(void **state) {
    expect(chatml, "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}", WEFT_OK,
           "<|user|>hi<|end|><|assistant|>");
    expect(chatml,
           "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}],"
           " \"add_generation_prompt\": false}",
           WEFT_OK, "<|user|>hi<|end|>");
}

static void templates_get_the_variables_they_expect(void **state) {
    expect("{{ bos_token }}{{ eos_token }}{{ tools }}{{ documents }}{{ x }}{{ y is defined }}",
           "{\"messages\": [{\"role\": \"user\", \"content\": \"\"}],"
           " \"chat_template_kwargs\": {\"x\": [1]}}",
           WEFT_OK, "<s></s>NoneNone[1]False");
    expect("{{ tools[0].function.name }}",
           "{\"messages\": [{\"role\": \"user\", \"content\": \"\"}],"
           " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]}",
           WEFT_OK, "f");
    expect("{{ messages[0].thinking }}{{ messages[0].reasoning_content }}",
           "{\"messages\": [{\"role\": \"assistant\", \"content\": \"\", \"reasoning\": \"r\"}]}",
           WEFT_OK, "rr");
}

static void parts_are_joined_only_where_a_string_is_wanted(void **state) {
    static const char request[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"},"
        " {\"type\": \"text\", \"text\": \"b\"}]}]}";
    expect(chatml, request, WEFT_OK, "<|user|>ab<|end|><|assistant|>");
    expect(parts, request, WEFT_OK, "(a)(b)");
}

static void arguments_given_as_text_become_objects(void **state) {
    static const char source[] =
        "{% for c in messages[0].tool_calls %}{{ c.function.arguments }};{% endfor %}";
    expect(source,
           "{\"messages\": [{\"role\": \"assistant\", \"content\": null, \"tool_calls\": ["
           "{\"function\": {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}},"
           "{\"function\": {\"name\": \"f\", \"arguments\": {\"b\": 2}}},"
           "{\"function\": {\"name\": \"f\", \"arguments\": \"not json\"}}]}]}",
           WEFT_OK, "{'a': 1};{'b': 2};not json;");
}

static void broken_arguments_stay_text(void **state) {
    static const char source[] =
        "{% for c in messages[0].tool_calls %}{{ c.function.arguments }};{% endfor %}";
    expect(source,
           "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": ["
           "{\"function\": {\"arguments\": \"{\\\"a\\\": [[[1, }\"}},"
           "{\"function\": {\"arguments\": \"{} {}\"}},"
           "{\"function\": {\"arguments\": \"[1]\"}}]}]}",
           WEFT_OK, "{\"a\": [[[1, };{} {};[1];");
    expect("{{ messages[0].tool_calls }}",
           "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [7, {\"function\": 1}]}]}",
           WEFT_OK, "[7, {'function': 1}]");
}

/* As in transformers: an OpenAI client sends nulls for what a message does not have. */
static void members_that_are_null_are_absent(void **state) {
    expect("{{ messages[0].content is defined }}{{ messages[0] }}",
           "{\"messages\": [{\"role\": \"assistant\", \"content\": null, \"name\": null,"
           " \"x\": {\"y\": null}}]}",
           WEFT_OK, "False{'role': 'assistant', 'x': {'y': None}}");
}

static void what_the_template_does_not_know_is_ignored(void **state) {
    expect("{{ messages | length }}{{ model }}",
           "{\"model\": \"m\", \"messages\": [{\"role\": \"user\"}], \"temperature\": {\"a\": [1]},"
           " \"tools\": [], \"chat_template_kwargs\": null}",
           WEFT_OK, "1");
}

static void the_final_message_can_be_continued(void **state) {
    static const char request[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"},"
        " {\"role\": \"assistant\", \"content\": \"so be \"}], \"continue_final_message\": true}";
    expect(chatml, request, WEFT_OK, "<|user|>hi<|end|><|assistant|>so be ");
    expect(trimming, request, WEFT_OK, "[hi][so be");
    expect(parts,
           "{\"messages\": [{\"role\": \"assistant\", \"content\": [{\"type\": \"text\","
           " \"text\": \"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}],"
           " \"continue_final_message\": true}",
           WEFT_OK, "(a)(b");
    expect("nothing", request, WEFT_INVALID,
           "continue_final_message: the final message does not appear in the prompt that the chat "
           "template makes");
    expect(chatml,
           "{\"messages\": [{\"role\": \"assistant\", \"content\": null}],"
           " \"continue_final_message\": true}",
           WEFT_INVALID, "continue_final_message: the final message has no text to continue");
    expect(chatml,
           "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}],"
           " \"continue_final_message\": true, \"add_generation_prompt\": true}",
           WEFT_INVALID, "add_generation_prompt and continue_final_message exclude each other");
}

static void malformed_requests_are_refused(void **state) {
    static const struct {
        const char *request;
        const char *message;
    } cases[] = {
        {"[]", "the chat request must be an object"},
        {"{}", "messages must be a non-empty array"},
        {"{\"messages\": []}", "messages must be a non-empty array"},
        {"{\"messages\": [1]}", "messages[0] must be an object"},
        {"{\"messages\": [{}]}", "messages[0].role must be a string"},
        {"{\"messages\": [{\"role\": \"user\"}], \"tools\": 1}", "tools must be an array"},
        {"{\"messages\": [{\"role\": \"user\"}], \"chat_template_kwargs\": 1}",
         "chat_template_kwargs must be an object"},
        {"{\"messages\": [{\"role\": \"user\"}], \"add_generation_prompt\": 1}",
         "add_generation_prompt must be true or false"},
    };
    for (size_t i = 0; i < WEFT_LEN(cases); i++) {
        expect(chatml, cases[i].request, WEFT_INVALID, cases[i].message);
    }
    expect(chatml, "{", WEFT_INVALID,
           "the chat request is not valid JSON: line 1, column 2: a key in quotes was expected, "
           "found the end");
    expect(chatml, "{\"messages\": [{\"role\": \"user\", \"content\": \"\\x\"}]}", WEFT_INVALID,
           "the chat request is not valid JSON: line 1, column 44: a backslash before byte "
           "78, which is no escape");
    expect(chatml, "{\"messages\": [{\"role\": \"user\"}]} x", WEFT_INVALID,
           "the chat request is not valid JSON: line 1, column 34: text behind the end of the "
           "document");
}

static void a_template_that_refuses_says_why(void **state) {
    expect("{{ raise_exception('only one system message') }}",
           "{\"messages\": [{\"role\": \"user\", \"content\": \"\"}]}", WEFT_INVALID,
           "chat template: line 1, column 19: only one system message");
    expect("{% if %}", "{}", WEFT_FORMAT,
           "chat template: line 1, column 7: expected an expression, got 'end of statement "
           "block'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_rendered_with_a_generation_prompt),
        cmocka_unit_test(templates_get_the_variables_they_expect),
        cmocka_unit_test(parts_are_joined_only_where_a_string_is_wanted),
        cmocka_unit_test(arguments_given_as_text_become_objects),
        cmocka_unit_test(broken_arguments_stay_text),
        cmocka_unit_test(members_that_are_null_are_absent),
        cmocka_unit_test(what_the_template_does_not_know_is_ignored),
        cmocka_unit_test(the_final_message_can_be_continued),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(a_template_that_refuses_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
