/* chat.c - requests become prompts.
 *
 * The request is read straight into the values a template works with, in the memory of the render
 * that follows. The messages are changed there as templates need them:
 *
 *   null members     are left out, as in transformers
 *   arguments        of tool calls that are JSON text become the object they spell
 *   parts            of text alone are joined to one string where the template cannot walk
 *   reasoning        is known under each of the names templates use
 *
 * and rendered beside tools, documents (as given, or none), bos_token, eos_token,
 * add_generation_prompt, and everything in chat_template_kwargs.
 *
 * Whether a template handles parts is found out once, by rendering one message of one part: if
 * its text comes out without the quotes of a printed list, it does.
 *
 * continue_final_message marks the end of the last message's content with a tag that no text
 * contains by chance, renders, and cuts the prompt at the tag, as transformers does.
 */
#include "vocab/chat.h"

#include "base/clock.h"
#include "base/mem.h"
#include "text/jinja_run.h"
#include "text/jinja_unicode.h"

#define NAME "chat template"
#define CONTINUE_TAG "CONTINUE_FINAL_MESSAGE_TAG "
#define PROBE_TEXT "weft-probe"
#define PROBE \
    "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"" PROBE_TEXT "\"}]}]"

struct chat {
    jinja *template;
    char *bos;
    char *eos;
    bool takes_parts; /* content may stay a list of parts */
};

/* The members of a request that mean something here; the rest is only checked to be JSON. */
typedef enum member {
    MEMBER_MESSAGES,
    MEMBER_TOOLS,
    MEMBER_DOCUMENTS,
    MEMBER_KWARGS,
    MEMBER_ADDS_PROMPT,
    MEMBER_CONTINUES,
    MEMBER_COUNT
} member;

static const char *const member_names[MEMBER_COUNT] = {
    [MEMBER_MESSAGES] = "messages",
    [MEMBER_TOOLS] = "tools",
    [MEMBER_DOCUMENTS] = "documents",
    [MEMBER_KWARGS] = "chat_template_kwargs",
    [MEMBER_ADDS_PROMPT] = "add_generation_prompt",
    [MEMBER_CONTINUES] = "continue_final_message",
};

typedef struct request {
    const chat *chat;
    jinja_run *run;
    weft_error *err;
    jinja_value members[MEMBER_COUNT]; /* none where absent */
    bool adds_prompt;
    bool is_continued;
    str final_text; /* the content that is continued */
} request;

static bool probe_parts(const chat *c);
static weft_status read_members(request *r, str json);
static weft_status prepare_request(request *r);
static weft_status render(request *r, str *text);
static weft_status cut_at_tag(const request *r, str *prompt);

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

/* All members none, a prompt for the model to go on from. */
static weft_status request_init(request *r, const chat *c, weft_error *err) {
    const jinja_options options = {.now_unix_s = clock_unix_s()};
    *r = (request){.chat = c, .err = err, .adds_prompt = true};
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        r->members[i] = jinja_none();
    }
    return jinja_run_create(&r->run, c->template, &options, err);
}

weft_status chat_apply(const chat *c, str request_json, buf *out, weft_error *err) {
    request r;
    str text;
    weft_status status = request_init(&r, c, err);
    if (status == WEFT_OK) {
        status = read_members(&r, request_json);
    }
    if (status == WEFT_OK) {
        status = prepare_request(&r);
    }
    if (status == WEFT_OK) {
        status = render(&r, &text);
    }
    if (status == WEFT_OK && r.is_continued) {
        status = cut_at_tag(&r, &text);
    }
    if (status == WEFT_OK && !buf_append_str(out, text)) {
        status = weft_fail(err, WEFT_LIMIT, "no room for a prompt of %zu bytes", text.len);
    }
    jinja_run_destroy(&r.run);
    return status;
}

static bool probe_parts(const chat *c) {
    request r;
    str prompt = {0};
    weft_error err;
    weft_status status = request_init(&r, c, &err);
    if (status == WEFT_OK) {
        status = jinja_read_json(r.run, STR_LIT(PROBE), "probe", &r.members[MEMBER_MESSAGES]);
    }
    if (status == WEFT_OK) {
        status = render(&r, &prompt);
    }
    const bool takes_parts = status == WEFT_OK &&
                             str_find(prompt, STR_LIT(PROBE_TEXT), 0) != SIZE_MAX &&
                             str_find(prompt, STR_LIT("'" PROBE_TEXT), 0) == SIZE_MAX &&
                             str_find(prompt, STR_LIT("\"" PROBE_TEXT), 0) == SIZE_MAX;
    jinja_run_destroy(&r.run);
    return takes_parts;
}

/* What is wrong with the text of a request, if anything is. */
static weft_status check_json(const json_reader *reader, weft_error *err) {
    weft_error why;
    return json_reader_status(reader, &why) == WEFT_OK
               ? WEFT_OK
               : weft_fail(err, WEFT_INVALID, "the chat request is not valid JSON: %s",
                           why.message);
}

static weft_status read_members(request *r, str json) {
    json_reader reader;
    json_reader_init(&reader, json, &r->run->memory);
    json_event e = json_reader_next(&reader);
    if (e != JSON_EVENT_OBJECT && e != JSON_EVENT_ERROR) {
        json_reader_skip(&reader);
        JINJA_TRY(check_json(&reader, r->err));
        return weft_fail(r->err, WEFT_INVALID, "the chat request must be an object");
    }
    while ((e = json_reader_next(&reader)) == JSON_EVENT_KEY) {
        size_t i = 0;
        while (i < MEMBER_COUNT && !str_eq_cstr(reader.text, member_names[i])) {
            i++;
        }
        if (i == MEMBER_COUNT) {
            json_reader_skip(&reader);
            continue;
        }
        e = json_reader_next(&reader);
        const weft_status status = jinja_read_value(r->run, &reader, e, &r->members[i]);
        if (status != WEFT_OK) {
            JINJA_TRY(check_json(&reader, r->err));
            return status;
        }
    }
    json_reader_next(&reader);
    return check_json(&reader, r->err);
}

/* A flag of the request; absent and null mean the default. */
static weft_status read_flag(const request *r, member which, bool fallback, bool *out) {
    const jinja_value v = r->members[which];
    if (v.kind != JINJA_NONE && v.kind != JINJA_BOOL) {
        return weft_fail(r->err, WEFT_INVALID, "%s must be true or false", member_names[which]);
    }
    *out = v.kind == JINJA_NONE ? fallback : v.as.boolean;
    return WEFT_OK;
}

static const jinja_value *string_of(const jinja_dict *d, const char *key) {
    const jinja_value *v = jinja_dict_find(d, str_from_cstr(key));
    return v != NULL && v->kind == JINJA_STRING ? v : NULL;
}

static weft_status set(const request *r, jinja_dict *d, const char *key, jinja_value value) {
    return jinja_dict_set(r->run, d, jinja_string(str_from_cstr(key)), value);
}

/* The message without members that are null: a template then sees them as undefined. */
static weft_status drop_nulls(const request *r, jinja_value *message) {
    const jinja_dict *from = message->as.dict;
    bool has_null = false;
    for (uint32_t i = 0; i < from->count && !has_null; i++) {
        has_null = from->entries[i].value.kind == JINJA_NONE;
    }
    if (!has_null) {
        return WEFT_OK;
    }
    jinja_dict *to;
    JINJA_TRY(jinja_dict_create(r->run, from->count, &to));
    for (uint32_t i = 0; i < from->count; i++) {
        const jinja_entry *e = &from->entries[i];
        if (e->value.kind != JINJA_NONE) {
            JINJA_TRY(jinja_dict_set(r->run, to, e->key, e->value));
        }
    }
    *message = jinja_dict_value(to);
    return WEFT_OK;
}

/* Parts that are all text become one string; the template has to say what it makes of images. */
static weft_status flatten_content(const request *r, jinja_dict *message) {
    const jinja_value *content = jinja_dict_find(message, STR_LIT("content"));
    if (content == NULL || content->kind != JINJA_LIST) {
        return WEFT_OK;
    }
    jinja_writer text;
    jinja_writer_init(&text, r->run);
    for (uint32_t i = 0; i < content->as.list->count; i++) {
        const jinja_value part = content->as.list->items[i];
        const jinja_value *v = part.kind == JINJA_DICT ? string_of(part.as.dict, "text") : NULL;
        if (v == NULL) {
            return WEFT_OK;
        }
        JINJA_TRY(jinja_write(&text, jinja_text(*v)));
    }
    return set(r, message, "content", jinja_writer_value(&text));
}

/* "{\"a\": 1}" becomes {"a": 1}; text that is no object stays text. */
static weft_status parse_arguments(const request *r, jinja_dict *function) {
    const jinja_value *arguments = string_of(function, "arguments");
    if (arguments == NULL) {
        return WEFT_OK;
    }
    json_reader reader;
    jinja_value parsed;
    jinja_run *run = r->run;
    weft_error *const err = run->err;
    const uint32_t depth = run->depth;
    weft_error ignored;
    json_reader_init(&reader, jinja_text(*arguments), &run->memory);
    if (json_reader_next(&reader) != JSON_EVENT_OBJECT) {
        return WEFT_OK;
    }
    run->err = &ignored; /* what is wrong with text that stays text is nobody's affair */
    const weft_status status = jinja_read_value(run, &reader, JSON_EVENT_OBJECT, &parsed);
    run->err = err;
    run->depth = depth;
    if (status != WEFT_OK || json_reader_next(&reader) != JSON_EVENT_END) {
        return WEFT_OK;
    }
    return set(r, function, "arguments", parsed);
}

static weft_status parse_calls(const request *r, const jinja_dict *message) {
    const jinja_value *calls = jinja_dict_find(message, STR_LIT("tool_calls"));
    const uint32_t count = calls != NULL && calls->kind == JINJA_LIST ? calls->as.list->count : 0;
    for (uint32_t i = 0; i < count; i++) {
        const jinja_value call = calls->as.list->items[i];
        const jinja_value *function =
            call.kind == JINJA_DICT ? jinja_dict_find(call.as.dict, STR_LIT("function")) : NULL;
        if (function != NULL && function->kind == JINJA_DICT) {
            JINJA_TRY(parse_arguments(r, function->as.dict));
        }
    }
    return WEFT_OK;
}

/* Reasoning is "reasoning_content" to most templates and "thinking" to some; the copies stand where
 * transformers puts them, should a template print the message. */
static weft_status alias_reasoning(const request *r, jinja_value *message) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const jinja_value *given = NULL;
    for (size_t i = 0; i < WEFT_LEN(names) && given == NULL; i++) {
        given = jinja_dict_find(message->as.dict, str_from_cstr(names[i]));
    }
    if (given == NULL) {
        return WEFT_OK;
    }
    const jinja_value reasoning = *given;
    const jinja_dict *from = message->as.dict;
    jinja_dict *to;
    JINJA_TRY(jinja_dict_create(r->run, (size_t)from->count + 2, &to));
    JINJA_TRY(set(r, to, "thinking", reasoning));
    for (uint32_t i = 0; i < from->count; i++) {
        JINJA_TRY(jinja_dict_set(r->run, to, from->entries[i].key, from->entries[i].value));
    }
    *message = jinja_dict_value(to);
    return set(r, to, "reasoning_content", reasoning);
}

static weft_status prepare_message(const request *r, jinja_value *message, uint32_t index) {
    if (message->kind != JINJA_DICT) {
        return weft_fail(r->err, WEFT_INVALID, "messages[%u] must be an object", index);
    }
    if (string_of(message->as.dict, "role") == NULL) {
        return weft_fail(r->err, WEFT_INVALID, "messages[%u].role must be a string", index);
    }
    JINJA_TRY(drop_nulls(r, message));
    if (!r->chat->takes_parts) {
        JINJA_TRY(flatten_content(r, message->as.dict));
    }
    JINJA_TRY(parse_calls(r, message->as.dict));
    return alias_reasoning(r, message);
}

/* The object and key whose string is the text to continue: the content, or its last text part. */
static jinja_dict *final_holder(jinja_dict *message, const char **key) {
    const jinja_value *content = jinja_dict_find(message, STR_LIT("content"));
    *key = "content";
    if (content == NULL || content->kind != JINJA_LIST) {
        return string_of(message, "content") != NULL ? message : NULL;
    }
    *key = "text";
    for (uint32_t i = content->as.list->count; i > 0; i--) {
        const jinja_value part = content->as.list->items[i - 1];
        if (part.kind == JINJA_DICT && string_of(part.as.dict, "text") != NULL) {
            return part.as.dict;
        }
    }
    return NULL;
}

static weft_status tag_final_message(request *r) {
    const char *key;
    const jinja_list *messages = r->members[MEMBER_MESSAGES].as.list;
    jinja_dict *holder = final_holder(messages->items[messages->count - 1].as.dict, &key);
    if (holder == NULL) {
        return weft_fail(r->err, WEFT_INVALID,
                         "continue_final_message: the final message has no text to continue");
    }
    r->final_text = jinja_text(*string_of(holder, key));
    jinja_writer tagged;
    jinja_writer_init(&tagged, r->run);
    JINJA_TRY(jinja_write(&tagged, r->final_text));
    JINJA_TRY(jinja_write(&tagged, STR_LIT(CONTINUE_TAG)));
    return set(r, holder, key, jinja_writer_value(&tagged));
}

static weft_status prepare_messages(request *r) {
    const jinja_value messages = r->members[MEMBER_MESSAGES];
    if (messages.kind != JINJA_LIST || messages.as.list->count == 0) {
        return weft_fail(r->err, WEFT_INVALID, "messages must be a non-empty array");
    }
    for (uint32_t i = 0; i < messages.as.list->count; i++) {
        JINJA_TRY(prepare_message(r, &messages.as.list->items[i], i));
    }
    return r->is_continued ? tag_final_message(r) : WEFT_OK;
}

static weft_status prepare_request(request *r) {
    JINJA_TRY(read_flag(r, MEMBER_CONTINUES, false, &r->is_continued));
    JINJA_TRY(read_flag(r, MEMBER_ADDS_PROMPT, !r->is_continued, &r->adds_prompt));
    if (r->is_continued && r->adds_prompt) {
        return weft_fail(r->err, WEFT_INVALID,
                         "add_generation_prompt and continue_final_message exclude each other");
    }
    JINJA_TRY(prepare_messages(r));
    for (member m = MEMBER_TOOLS; m <= MEMBER_DOCUMENTS; m++) {
        jinja_value *v = &r->members[m];
        if (v->kind != JINJA_NONE && v->kind != JINJA_LIST) {
            return weft_fail(r->err, WEFT_INVALID, "%s must be an array", member_names[m]);
        }
        if (v->kind == JINJA_LIST && v->as.list->count == 0) {
            *v = jinja_none(); /* an empty list of tools is no tools */
        }
    }
    const jinja_kind kwargs = (jinja_kind)r->members[MEMBER_KWARGS].kind;
    if (kwargs != JINJA_NONE && kwargs != JINJA_DICT) {
        return weft_fail(r->err, WEFT_INVALID, "chat_template_kwargs must be an object");
    }
    return WEFT_OK;
}

/* The prompt; it lasts as long as the run. */
static weft_status render(request *r, str *text) {
    jinja_dict *v;
    const jinja_value kwargs = r->members[MEMBER_KWARGS];
    JINJA_TRY(jinja_dict_create(r->run, 8, &v));
    JINJA_TRY(set(r, v, "messages", r->members[MEMBER_MESSAGES]));
    JINJA_TRY(set(r, v, "tools", r->members[MEMBER_TOOLS]));
    JINJA_TRY(set(r, v, "documents", r->members[MEMBER_DOCUMENTS]));
    JINJA_TRY(set(r, v, "add_generation_prompt", jinja_bool(r->adds_prompt)));
    JINJA_TRY(set(r, v, "bos_token", jinja_string(str_from_cstr(r->chat->bos))));
    JINJA_TRY(set(r, v, "eos_token", jinja_string(str_from_cstr(r->chat->eos))));
    for (uint32_t i = 0; kwargs.kind == JINJA_DICT && i < kwargs.as.dict->count; i++) {
        const jinja_entry *e = &kwargs.as.dict->entries[i];
        JINJA_TRY(jinja_dict_set(r->run, v, e->key, e->value));
    }
    return jinja_run_render(r->run, v, text);
}

static size_t find_last(str s, str what) {
    size_t found = SIZE_MAX;
    for (size_t at = 0; (at = str_find(s, what, at)) != SIZE_MAX; at++) {
        found = at;
    }
    return found;
}

static weft_status cut_at_tag(const request *r, str *prompt) {
    const str tag = STR_LIT(CONTINUE_TAG);
    const str bare_tag = str_slice(tag, 0, tag.len - 1);
    const str final_text = jinja_str_lstrip(jinja_str_rstrip(r->final_text));
    const size_t at = find_last(*prompt, bare_tag);
    if (at == SIZE_MAX || jinja_str_find(*prompt, final_text, 0) == SIZE_MAX) {
        return weft_fail(r->err, WEFT_INVALID,
                         "continue_final_message: the final message does not appear in the prompt "
                         "that the chat template makes");
    }
    const bool is_whole = str_starts_with(str_slice(*prompt, at, prompt->len), tag);
    *prompt = str_slice(*prompt, 0, at);
    if (!is_whole) { /* the template trims, so the blanks before the tag go too */
        *prompt = jinja_str_rstrip(*prompt);
    }
    return WEFT_OK;
}
