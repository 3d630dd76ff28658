/* openai_chat.c - tables of fields for each kind of object in a chat, and one walk over them.
 *
 * A table is what a template may read. In messages a field that is in no table is refused by
 * name, as in the request itself; tools may have more, because templates print them whole. Which
 * roles there are is the template's business, and so are arguments of a tool call that are text
 * but no JSON: a model may well have written them.
 *
 * Tools are taken with "tool_choice": "none" alone. The model is shown them, but nothing takes
 * tool calls out of its answer, so any other choice would be honoured by half.
 */
#include "api/openai_chat.h"

#include <stdio.h>
#include <string.h>

#include "api/api_json.h"
#include "base/buf.h"

#define REQUEST_BYTES_MAX (512u << 20)
#define PATH_MAX_BYTES 224 /* longer ones are cut: they are for people */

enum { TEXT = 1, OBJECT = 2, ARRAY = 4, BOOLEAN = 8 };

typedef struct rule {
    const char *name;
    unsigned types; /* of the enum above */
    const char *wanted;
    bool is_required;
    const char *role; /* only messages of this role have it; NULL: all */
} rule;

static const rule message_rules[] = {
    {"role", TEXT, "a string", true, NULL},
    {"content", TEXT | ARRAY, "a string or an array of text parts", false, NULL},
    {"name", TEXT, "a string", false, NULL},
    {"tool_calls", ARRAY, "an array", false, "assistant"},
    {"reasoning_content", TEXT, "a string", false, "assistant"},
    {"reasoning", TEXT, "a string", false, "assistant"},
    {"thinking", TEXT, "a string", false, "assistant"},
    {"tool_call_id", TEXT, "a string", false, "tool"},
};

static const rule part_rules[] = {
    {"type", TEXT, "a string", true, NULL},
    {"text", TEXT, "a string", true, NULL},
};

static const rule call_rules[] = {
    {"id", TEXT, "a string", false, NULL},
    {"type", TEXT, "a string", false, NULL},
    {"function", OBJECT, "an object", true, NULL},
};

static const rule called_rules[] = {
    {"name", TEXT, "a string", true, NULL},
    {"arguments", TEXT | OBJECT, "a string or an object", true, NULL},
};

static const rule tool_rules[] = {
    {"type", TEXT, "a string", true, NULL},
    {"function", OBJECT, "an object", true, NULL},
};

static const rule function_rules[] = {
    {"name", TEXT, "a string", true, NULL},
    {"description", TEXT, "a string", false, NULL},
    {"parameters", OBJECT, "an object", false, NULL},
    {"strict", BOOLEAN, "a boolean", false, NULL},
};

#define RULES(table) table, WEFT_LEN(table)

static bool check_messages(json_t *messages, api_error *e);
static bool check_tools(const json_t *body, api_error *e);
static bool check_documents(const json_t *documents, api_error *e);
static bool check_variables(const json_t *variables, api_error *e);

bool openai_chat_check(json_t *body, api_error *e) {
    if (json_is_true(json_object_get(body, "add_generation_prompt")) &&
        json_is_true(json_object_get(body, "continue_final_message"))) {
        return api_error_bad(
            e, "continue_final_message",
            "'add_generation_prompt' and 'continue_final_message' exclude each other");
    }
    return check_messages(json_object_get(body, "messages"), e) && check_tools(body, e) &&
           check_documents(json_object_get(body, "documents"), e) &&
           check_variables(json_object_get(body, "chat_template_kwargs"), e);
}

bool openai_chat_prompt(const json_t *body, const weft_engine *en, weft_tokens *out, api_error *e) {
    weft_error err;
    buf request;
    char *text = NULL;
    size_t len = 0;
    buf_init(&request, MEM_API, REQUEST_BYTES_MAX);
    if (!api_json_dump(&request, body)) {
        buf_deinit(&request);
        return api_error_set(e, 500, NULL, "out of memory for the messages");
    }
    weft_status status = weft_chat_apply(en, buf_cstr(&request), request.len, &text, &len, &err);
    if (status == WEFT_OK) {
        status = weft_tokenize(en, text, len, WEFT_TOKENIZE_PARSE, out, &err);
    }
    buf_deinit(&request);
    weft_free(text);
    if (status != WEFT_OK) {
        api_error_from(e, status, &err);
        memcpy(e->param, "messages", sizeof "messages");
        if (status == WEFT_LIMIT) {
            e->code = NULL; /* a limit of templates or texts, not the context's */
        }
        return false;
    }
    return true;
}

/* ---- the walk ---- */

/* A complaint about the value at path; the parameter is the path's first name. */
static bool bad(api_error *e, const char *path, const char *what) {
    char param[sizeof e->param];
    snprintf(param, sizeof param, "%.*s", (int)strcspn(path, "[."), path);
    return api_error_bad(e, param, "%s %s", path, what);
}

static bool wrong_type(api_error *e, const char *path, const json_t *v, const char *wanted) {
    char what[160];
    snprintf(what, sizeof what, "is %s, wanted %s", api_json_type(v), wanted);
    return bad(e, path, what);
}

static void join(char out[PATH_MAX_BYTES], const char *path, const char *name) {
    snprintf(out, PATH_MAX_BYTES, "%.160s.%.60s", path, name);
}

static bool has_type(const json_t *v, unsigned types) {
    return (json_is_string(v) && (types & TEXT) != 0) ||
           (json_is_object(v) && (types & OBJECT) != 0) ||
           (json_is_array(v) && (types & ARRAY) != 0) ||
           (json_is_boolean(v) && (types & BOOLEAN) != 0);
}

static const rule *find_rule(const rule *rules, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            return &rules[i];
        }
    }
    return NULL;
}

static bool check_required(const rule *rules, size_t n, const char *path, const json_t *v,
                           api_error *e) {
    char at[PATH_MAX_BYTES];
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_object_get(v, rules[i].name);
        if (rules[i].is_required && (value == NULL || json_is_null(value))) {
            join(at, path, rules[i].name);
            return wrong_type(e, at, value, rules[i].wanted);
        }
    }
    return true;
}

/* Types of the fields of one object, and that those required are there. */
static bool check_object(const rule *rules, size_t n, bool takes_more, const char *path,
                         const json_t *v, api_error *e) {
    const char *key;
    json_t *value;
    char at[PATH_MAX_BYTES];
    if (!json_is_object(v)) {
        return wrong_type(e, path, v, "an object");
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, value) {
        const rule *r = find_rule(rules, n, key);
        join(at, path, key);
        if (json_is_null(value) || (r == NULL && takes_more)) {
            continue;
        }
        if (r == NULL) {
            return bad(e, at, "is not a known field");
        }
        if (!has_type(value, r->types)) {
            return wrong_type(e, at, value, r->wanted);
        }
    }
    return check_required(rules, n, path, v, e);
}

static bool is_text(const json_t *v, const char *wanted) {
    return json_is_string(v) && strcmp(json_string_value(v), wanted) == 0;
}

/* Something of a named type: "is image_url, wanted a text part". */
static bool check_type(const json_t *v, const char *type, const char *path, const char *wanted,
                       api_error *e) {
    char what[160];
    const json_t *found = json_object_get(v, "type");
    if (!json_is_string(found) || is_text(found, type)) {
        return true; /* the walk tells of one that is missing or no string */
    }
    snprintf(what, sizeof what, "is %.40s, wanted %s", json_string_value(found), wanted);
    return bad(e, path, what);
}

/* ---- messages ---- */

/* Content stays: null there is what clients send beside tool calls, and templates ask for it. */
static void drop_nulls(json_t *object) {
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value) {
        if (json_is_null(value) && strcmp(key, "content") != 0) {
            json_object_del(object, key);
        }
    }
}

static bool check_parts(const json_t *parts, const char *path, api_error *e) {
    char at[PATH_MAX_BYTES];
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        snprintf(at, sizeof at, "%.160s.content[%zu]", path, i);
        if (!check_type(part, "text", at, "a text part", e) ||
            !check_object(RULES(part_rules), false, at, part, e)) {
            return false;
        }
    }
    return true;
}

static bool check_calls(json_t *calls, const char *path, api_error *e) {
    char at[PATH_MAX_BYTES], function[PATH_MAX_BYTES];
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *call = json_array_get(calls, i);
        snprintf(at, sizeof at, "%.160s.tool_calls[%zu]", path, i);
        join(function, at, "function");
        drop_nulls(call);
        if (!check_type(call, "function", at, "a call of a function", e) ||
            !check_object(RULES(call_rules), false, at, call, e) ||
            !check_object(RULES(called_rules), false, function, json_object_get(call, "function"),
                          e)) {
            return false;
        }
    }
    return true;
}

static bool check_role(const json_t *message, const char *path, api_error *e) {
    char at[PATH_MAX_BYTES], what[80];
    for (size_t i = 0; i < WEFT_LEN(message_rules); i++) {
        const rule *r = &message_rules[i];
        if (r->role != NULL && json_object_get(message, r->name) != NULL &&
            !is_text(json_object_get(message, "role"), r->role)) {
            join(at, path, r->name);
            snprintf(what, sizeof what, "is for messages of the role %s alone", r->role);
            return bad(e, at, what);
        }
    }
    return true;
}

/* Reasoning has three names; a template is shown one of them. */
static bool check_reasoning(const json_t *message, const char *path, bool *is_given, api_error *e) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const json_t *first = NULL;
    char at[PATH_MAX_BYTES];
    for (size_t i = 0; i < WEFT_LEN(names); i++) {
        const json_t *v = json_object_get(message, names[i]);
        if (v != NULL && first != NULL && !json_equal(v, first)) {
            join(at, path, names[i]);
            return bad(e, at, "differs from the same message's other reasoning");
        }
        first = first != NULL ? first : v;
    }
    *is_given = first != NULL;
    return true;
}

static bool check_message(json_t *message, const char *path, api_error *e) {
    char at[PATH_MAX_BYTES];
    bool has_reasoning = false;
    drop_nulls(message);
    if (!check_object(RULES(message_rules), false, path, message, e) ||
        !check_role(message, path, e) || !check_reasoning(message, path, &has_reasoning, e)) {
        return false;
    }
    const json_t *content = json_object_get(message, "content");
    json_t *calls = json_object_get(message, "tool_calls");
    if ((content == NULL || json_is_null(content)) && json_array_size(calls) == 0 &&
        !has_reasoning) {
        join(at, path, "content");
        return wrong_type(e, at, content, "a string or an array of text parts");
    }
    return check_parts(content, path, e) && check_calls(calls, path, e);
}

static bool check_messages(json_t *messages, api_error *e) {
    char path[PATH_MAX_BYTES];
    if (!json_is_array(messages) || json_array_size(messages) == 0) {
        return api_error_bad(e, "messages", "'messages' is %s, wanted a non-empty array",
                             json_is_array(messages) ? "empty" : api_json_type(messages));
    }
    for (size_t i = 0; i < json_array_size(messages); i++) {
        snprintf(path, sizeof path, "messages[%zu]", i);
        if (!check_message(json_array_get(messages, i), path, e)) {
            return false;
        }
    }
    return true;
}

/* ---- what stands beside the messages ---- */

static bool is_absent(const json_t *v) { return v == NULL || json_is_null(v); }

static bool check_tool_choice(const json_t *choice, const json_t *tools, api_error *e) {
    static const char why[] = "only \"none\" is taken: tool calls are not parsed out of answers";
    if (json_is_string(choice) && !is_text(choice, "none")) {
        return api_error_bad(e, "tool_choice", "'tool_choice' is \"%.40s\", %s",
                             json_string_value(choice), why);
    }
    if (!is_absent(choice) && !json_is_string(choice)) {
        return api_error_bad(e, "tool_choice", "'tool_choice' is %s, %s", api_json_type(choice),
                             why);
    }
    if (is_absent(choice) && json_array_size(tools) > 0) {
        return api_error_bad(e, "tools",
                             "'tools' is taken only with 'tool_choice' \"none\": the model is "
                             "shown the tools, but tool calls are not parsed out of answers");
    }
    return true;
}

static bool check_tools(const json_t *body, api_error *e) {
    char path[PATH_MAX_BYTES], function[PATH_MAX_BYTES];
    const json_t *tools = json_object_get(body, "tools");
    if (!is_absent(tools) && !json_is_array(tools)) {
        return wrong_type(e, "tools", tools, "an array");
    }
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        snprintf(path, sizeof path, "tools[%zu]", i);
        join(function, path, "function");
        if (!check_type(tool, "function", path, "a function", e) ||
            !check_object(RULES(tool_rules), true, path, tool, e) ||
            !check_object(RULES(function_rules), true, function, json_object_get(tool, "function"),
                          e)) {
            return false;
        }
    }
    return check_tool_choice(json_object_get(body, "tool_choice"), tools, e);
}

static bool check_documents(const json_t *documents, api_error *e) {
    char path[PATH_MAX_BYTES];
    if (!is_absent(documents) && !json_is_array(documents)) {
        return wrong_type(e, "documents", documents, "an array");
    }
    for (size_t i = 0; i < json_array_size(documents); i++) {
        const json_t *document = json_array_get(documents, i);
        snprintf(path, sizeof path, "documents[%zu]", i);
        if (!json_is_object(document)) {
            return wrong_type(e, path, document, "an object");
        }
    }
    return true;
}

/* Names that a request gives elsewhere, where they are checked, or that are no variable at all but
 * settings of the function that renders. */
static bool check_variables(const json_t *variables, api_error *e) {
    static const char *const reserved[] = {
        "messages", "tools",        "documents", "add_generation_prompt", "continue_final_message",
        "tokenize", "chat_template"};
    char path[PATH_MAX_BYTES];
    for (size_t i = 0; i < WEFT_LEN(reserved); i++) {
        if (json_object_get(variables, reserved[i]) != NULL) {
            join(path, "chat_template_kwargs", reserved[i]);
            return bad(e, path, "is no variable of a template's own");
        }
    }
    return true;
}
