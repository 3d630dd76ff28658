/* chat.c - requests become prompts.
 *
 * The request's messages are copied where they have to change, put beside the variables every
 * template expects, and rendered:
 *
 *   messages   arguments of tool calls that are JSON text become objects; content given as
 *              parts is joined to one string when the template cannot walk through parts;
 *              reasoning is known under each of the names templates use
 *   tools, documents   as given, or none
 *   bos_token, eos_token, add_generation_prompt, and everything in chat_template_kwargs
 *
 * Whether a template handles parts is found out once, by rendering one message of one part: if
 * its text comes out without the quotes of a printed list, it does.
 *
 * continue_final_message marks the end of the last message's content with a tag that no text
 * contains by chance, renders, and cuts the prompt at the tag, as transformers does.
 */
#include "vocab/chat.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/mem.h"
#include "text/jinja.h"

#define NAME "chat template"
#define CONTINUE_TAG "CONTINUE_FINAL_MESSAGE_TAG "
#define PROBE_TEXT "weft-probe"

struct chat {
    jinja *template;
    char *bos;
    char *eos;
    bool takes_parts; /* content may stay a list of parts */
};

typedef struct request {
    const json_t *json; /* borrowed */
    json_t *messages;   /* a deep copy, changed as the template needs it */
    json_t *variables;
    bool is_continued;
    char *final_text; /* the content that is continued */
} request;

static bool probe_parts(const chat *c);
static weft_status read_request(const chat *c, request *r, weft_error *err);
static weft_status cut_at_tag(const request *r, buf *text, weft_error *err);

weft_status chat_create(chat **out, str template_source, str bos_text, str eos_text,
                        weft_error *err) {
    chat *c = mem_zalloc(MEM_VOCAB, 1, sizeof(*c));
    if (c == NULL) {
        return weft_fail(err, WEFT_NOMEM, NAME ": out of memory");
    }
    weft_status status = jinja_compile(&c->template, template_source, NAME, err);
    if (status != WEFT_OK) {
        goto fail;
    }
    c->bos = mem_strndup(MEM_VOCAB, bos_text.data != NULL ? bos_text.data : "", bos_text.len);
    c->eos = mem_strndup(MEM_VOCAB, eos_text.data != NULL ? eos_text.data : "", eos_text.len);
    if (c->bos == NULL || c->eos == NULL) {
        status = weft_fail(err, WEFT_NOMEM, NAME ": out of memory");
        goto fail;
    }
    c->takes_parts = probe_parts(c);
    *out = c;
    return WEFT_OK;
fail:
    chat_destroy(&c);
    return status;
}

void chat_destroy(chat **c) {
    if (*c == NULL) {
        return;
    }
    jinja_destroy(&(*c)->template);
    mem_free((*c)->bos);
    mem_free((*c)->eos);
    mem_free(*c);
    *c = NULL;
}

static weft_status render(const chat *c, const json_t *variables, buf *out, weft_error *err) {
    const jinja_options options = {.now_unix_s = clock_unix_s()};
    return jinja_render_json(c->template, variables, &options, out, err);
}

weft_status chat_apply(const chat *c, str request_json, buf *out, weft_error *err) {
    request r = {0};
    buf text;
    json_error_t why;
    buf_init(&text, MEM_VOCAB, JINJA_OUTPUT_BYTES_MAX);
    json_t *json = json_loadb(request_json.data, request_json.len, JSON_ALLOW_NUL, &why);
    weft_status status = WEFT_OK;
    if (json == NULL) {
        status = weft_fail(err, WEFT_INVALID, "the chat request is not valid JSON: line %d: %s",
                           why.line, why.text);
        goto done;
    }
    r.json = json;
    status = read_request(c, &r, err);
    if (status == WEFT_OK) {
        status = render(c, r.variables, &text, err);
    }
    if (status == WEFT_OK && r.is_continued) {
        status = cut_at_tag(&r, &text, err);
    }
    if (status == WEFT_OK && !buf_append_str(out, buf_view(&text))) {
        status = weft_fail(err, WEFT_LIMIT, "no room for a prompt of %zu bytes", text.len);
    }
done:
    buf_deinit(&text);
    mem_free(r.final_text);
    json_decref(r.variables);
    json_decref(r.messages);
    json_decref(json);
    return status;
}

static weft_status no_memory(weft_error *err) {
    return weft_fail(err, WEFT_NOMEM, "out of memory for the chat request");
}

/* json_object_set_new with one kind of failure; takes value, which may be NULL: out of memory. */
static weft_status set_variable(json_t *object, const char *key, json_t *value, weft_error *err) {
    return json_object_set_new(object, key, value) == 0 ? WEFT_OK : no_memory(err);
}

/* The variables of a template around the given messages. */
static weft_status make_variables(const chat *c, json_t *messages, bool adds_prompt, json_t **out,
                                  weft_error *err) {
    json_t *v = json_object();
    weft_status status = v != NULL ? WEFT_OK : no_memory(err);
    const struct {
        const char *name;
        json_t *value;
    } variables[] = {
        {"messages", json_incref(messages)}, {"tools", json_null()},
        {"documents", json_null()},          {"add_generation_prompt", json_boolean(adds_prompt)},
        {"bos_token", json_string(c->bos)},  {"eos_token", json_string(c->eos)},
    };
    for (size_t i = 0; i < WEFT_LEN(variables); i++) {
        if (status == WEFT_OK) {
            status = set_variable(v, variables[i].name, variables[i].value, err);
        } else {
            json_decref(variables[i].value);
        }
    }
    if (status != WEFT_OK) {
        json_decref(v);
        return status;
    }
    *out = v;
    return WEFT_OK;
}

static bool probe_parts(const chat *c) {
    bool takes_parts = false;
    json_t *variables = NULL;
    buf text;
    buf_init(&text, MEM_VOCAB, 1 << 20);
    json_t *messages = json_pack("[{s:s, s:[{s:s, s:s}]}]", "role", "user", "content", "type",
                                 "text", "text", PROBE_TEXT);
    if (messages != NULL && make_variables(c, messages, true, &variables, NULL) == WEFT_OK &&
        render(c, variables, &text, NULL) == WEFT_OK) {
        const str prompt = buf_view(&text);
        const size_t at = str_find(prompt, STR_LIT(PROBE_TEXT), 0);
        takes_parts = at != SIZE_MAX && str_find(prompt, STR_LIT("'" PROBE_TEXT), 0) == SIZE_MAX &&
                      str_find(prompt, STR_LIT("\"" PROBE_TEXT), 0) == SIZE_MAX;
    }
    buf_deinit(&text);
    json_decref(variables);
    json_decref(messages);
    return takes_parts;
}

/* Parts that are all text, as one string. NULL when memory is out; *is_text says whether every
 * part was text. */
static json_t *join_parts(const json_t *parts, bool *is_text) {
    buf text;
    buf_init(&text, MEM_VOCAB, JINJA_OUTPUT_BYTES_MAX);
    *is_text = true;
    for (size_t i = 0; i < json_array_size(parts) && *is_text; i++) {
        const json_t *part = json_array_get(parts, i);
        const json_t *value = json_object_get(part, "text");
        *is_text = json_is_string(value);
        buf_append(&text, json_string_value(value), json_string_length(value));
    }
    json_t *joined = text.is_failed ? NULL : json_stringn(buf_cstr(&text), text.len);
    buf_deinit(&text);
    return joined;
}

static weft_status flatten_content(json_t *message, weft_error *err) {
    const json_t *content = json_object_get(message, "content");
    if (!json_is_array(content)) {
        return WEFT_OK;
    }
    bool is_text;
    json_t *joined = join_parts(content, &is_text);
    if (!is_text) {
        json_decref(joined);
        return WEFT_OK; /* the template has to say what it makes of images */
    }
    return set_variable(message, "content", joined, err);
}

/* {"arguments": "{\"a\": 1}"} becomes {"arguments": {"a": 1}}; text that is no object stays. */
static weft_status parse_arguments(json_t *message, weft_error *err) {
    json_t *calls = json_object_get(message, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *function = json_object_get(json_array_get(calls, i), "function");
        const json_t *arguments = json_object_get(function, "arguments");
        if (!json_is_string(arguments)) {
            continue;
        }
        json_t *parsed = json_loadb(json_string_value(arguments), json_string_length(arguments),
                                    JSON_ALLOW_NUL, NULL);
        if (!json_is_object(parsed)) {
            json_decref(parsed);
            continue;
        }
        const weft_status status = set_variable(function, "arguments", parsed, err);
        if (status != WEFT_OK) {
            return status;
        }
    }
    return WEFT_OK;
}

/* Reasoning is "reasoning_content" to most templates and "thinking" to some. */
static weft_status alias_reasoning(json_t *message, weft_error *err) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *reasoning = NULL;
    for (size_t i = 0; i < WEFT_LEN(names) && reasoning == NULL; i++) {
        json_t *given = json_object_get(message, names[i]);
        reasoning = given != NULL && !json_is_null(given) ? given : NULL;
    }
    if (reasoning == NULL) {
        return WEFT_OK;
    }
    json_incref(reasoning);
    weft_status status = set_variable(message, names[0], json_incref(reasoning), err);
    if (status == WEFT_OK && json_object_get(message, names[1]) == NULL) {
        status = set_variable(message, names[1], json_incref(reasoning), err);
    }
    json_decref(reasoning);
    return status;
}

static weft_status prepare_message(const chat *c, json_t *message, size_t index, weft_error *err) {
    if (!json_is_object(message)) {
        return weft_fail(err, WEFT_INVALID, "messages[%zu] must be an object", index);
    }
    if (!json_is_string(json_object_get(message, "role"))) {
        return weft_fail(err, WEFT_INVALID, "messages[%zu].role must be a string", index);
    }
    weft_status status = c->takes_parts ? WEFT_OK : flatten_content(message, err);
    if (status == WEFT_OK) {
        status = parse_arguments(message, err);
    }
    return status == WEFT_OK ? alias_reasoning(message, err) : status;
}

/* The object and key whose string is the text to continue: the content, or its last text part. */
static json_t *final_holder(json_t *message, const char **key) {
    json_t *content = json_object_get(message, "content");
    *key = "content";
    for (size_t i = json_array_size(content); i > 0; i--) {
        json_t *part = json_array_get(content, i - 1);
        if (json_is_string(json_object_get(part, "text"))) {
            *key = "text";
            return part;
        }
    }
    return json_is_string(content) ? message : NULL;
}

static weft_status tag_final_message(request *r, weft_error *err) {
    const char *key;
    json_t *last = json_array_get(r->messages, json_array_size(r->messages) - 1);
    json_t *holder = final_holder(last, &key);
    if (holder == NULL) {
        return weft_fail(err, WEFT_INVALID,
                         "continue_final_message: the final message has no text to continue");
    }
    const json_t *text = json_object_get(holder, key);
    buf tagged;
    buf_init(&tagged, MEM_VOCAB, JINJA_OUTPUT_BYTES_MAX);
    buf_append(&tagged, json_string_value(text), json_string_length(text));
    r->final_text = mem_strndup(MEM_VOCAB, buf_cstr(&tagged), tagged.len);
    buf_append_cstr(&tagged, CONTINUE_TAG);
    json_t *value = tagged.is_failed || r->final_text == NULL
                        ? NULL
                        : json_stringn(buf_cstr(&tagged), tagged.len);
    buf_deinit(&tagged);
    return set_variable(holder, key, value, err);
}

static weft_status read_flag(const request *r, const char *name, bool fallback, bool *out,
                             weft_error *err) {
    const json_t *v = json_object_get(r->json, name);
    *out = v == NULL || json_is_null(v) ? fallback : json_is_true(v);
    if (v != NULL && !json_is_boolean(v) && !json_is_null(v)) {
        return weft_fail(err, WEFT_INVALID, "%s must be true or false", name);
    }
    return WEFT_OK;
}

static weft_status read_messages(const chat *c, request *r, weft_error *err) {
    const json_t *messages = json_object_get(r->json, "messages");
    if (!json_is_array(messages) || json_array_size(messages) == 0) {
        return weft_fail(err, WEFT_INVALID, "messages must be a non-empty array");
    }
    r->messages = json_deep_copy(messages);
    if (r->messages == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < json_array_size(r->messages); i++) {
        const weft_status status = prepare_message(c, json_array_get(r->messages, i), i, err);
        if (status != WEFT_OK) {
            return status;
        }
    }
    return WEFT_OK;
}

/* Copies the optional arrays of the request and the caller's own variables. */
static weft_status add_extras(const request *r, weft_error *err) {
    static const char *const arrays[] = {"tools", "documents"};
    for (size_t i = 0; i < WEFT_LEN(arrays); i++) {
        json_t *v = json_object_get(r->json, arrays[i]);
        if (v == NULL || json_is_null(v)) {
            continue;
        }
        if (!json_is_array(v)) {
            return weft_fail(err, WEFT_INVALID, "%s must be an array", arrays[i]);
        }
        if (json_array_size(v) > 0 && /* an empty list of tools is no tools */
            set_variable(r->variables, arrays[i], json_incref(v), err) != WEFT_OK) {
            return WEFT_NOMEM;
        }
    }
    json_t *extra = json_object_get(r->json, "chat_template_kwargs");
    if (extra != NULL && !json_is_null(extra) && !json_is_object(extra)) {
        return weft_fail(err, WEFT_INVALID, "chat_template_kwargs must be an object");
    }
    if (json_is_object(extra) && json_object_update(r->variables, extra) != 0) {
        return no_memory(err);
    }
    return WEFT_OK;
}

static weft_status read_request(const chat *c, request *r, weft_error *err) {
    bool adds_prompt;
    if (!json_is_object(r->json)) {
        return weft_fail(err, WEFT_INVALID, "the chat request must be an object");
    }
    weft_status status = read_flag(r, "continue_final_message", false, &r->is_continued, err);
    if (status == WEFT_OK) {
        status = read_flag(r, "add_generation_prompt", !r->is_continued, &adds_prompt, err);
    }
    if (status == WEFT_OK && r->is_continued && adds_prompt) {
        status = weft_fail(err, WEFT_INVALID,
                           "add_generation_prompt and continue_final_message exclude each other");
    }
    if (status == WEFT_OK) {
        status = read_messages(c, r, err);
    }
    if (status == WEFT_OK && r->is_continued) {
        status = tag_final_message(r, err);
    }
    if (status == WEFT_OK) {
        status = make_variables(c, r->messages, adds_prompt, &r->variables, err);
    }
    return status == WEFT_OK ? add_extras(r, err) : status;
}

static size_t find_last(str s, str what) {
    size_t found = SIZE_MAX;
    for (size_t at = 0; (at = str_find(s, what, at)) != SIZE_MAX; at++) {
        found = at;
    }
    return found;
}

static weft_status cut_at_tag(const request *r, buf *text, weft_error *err) {
    const str tag = STR_LIT(CONTINUE_TAG);
    const str bare_tag = str_slice(tag, 0, tag.len - 1);
    const str final_text = str_trim(str_from_cstr(r->final_text));
    const str prompt = buf_view(text);
    const size_t at = find_last(prompt, bare_tag);
    if (at == SIZE_MAX || str_find(prompt, final_text, 0) == SIZE_MAX) {
        return weft_fail(err, WEFT_INVALID,
                         "continue_final_message: the final message does not appear in the prompt "
                         "that the chat template makes");
    }
    str kept = str_slice(prompt, 0, at);
    if (!str_starts_with(str_slice(prompt, at, prompt.len), tag)) {
        while (kept.len > 0 && str_trim(str_slice(kept, kept.len - 1, kept.len)).len == 0) {
            kept.len--; /* the template trims, so the blanks before the tag go too */
        }
    }
    text->len = kept.len;
    text->data[kept.len] = '\0';
    return WEFT_OK;
}
