/* completion_json.c - shapes from OpenAI's API reference: chat.completion, chat.completion.chunk
 * and text_completion.
 *
 * The logprobs of a chat are a list of entries; those of a plain completion are four parallel
 * lists. Entries are collected in the first form and turned over when a plain completion is
 * written.
 */
#include "api/completion_json.h"

#include <stdio.h>

#include "api/api_json.h"
#include "base/clock.h"
#include "base/os.h"

#define TOKEN_BYTES_MAX 1024

void completion_head_init(completion_head *h, bool is_chat, const char *model) {
    *h = (completion_head){.is_chat = is_chat, .created = clock_unix_s(), .model = model};
    snprintf(h->id, sizeof h->id, "%s-%016llx", is_chat ? "chatcmpl" : "cmpl",
             (unsigned long long)os_random_u64());
}

static const char *finish_name(weft_finish finish) {
    switch (finish) {
    case WEFT_FINISH_STOP: return "stop";
    case WEFT_FINISH_LENGTH:
    case WEFT_FINISH_DEADLINE: return "length";
    case WEFT_FINISH_NONE:
    case WEFT_FINISH_CANCELLED:
    case WEFT_FINISH_ERROR: break;
    }
    return NULL;
}

/* ---- log probabilities ---- */

/* *n_chars: characters that begin in the token. */
static json_t *token_json(const weft_engine *en, const weft_logprob *l, size_t *n_chars) {
    char bytes[TOKEN_BYTES_MAX];
    json_t *list = json_array();
    const size_t len = weft_token_bytes(en, l->token, bytes, sizeof bytes);
    *n_chars = 0;
    for (size_t i = 0; i < len; i++) {
        *n_chars += ((unsigned char)bytes[i] & 0xC0) != 0x80;
        json_array_append_new(list, json_integer((unsigned char)bytes[i]));
    }
    return json_pack("{s:o, s:f, s:o}", "token", api_json_text(bytes, len), "logprob",
                     (double)l->logprob, "bytes", list);
}

json_t *completion_json_logprob(const completion_head *h, const weft_engine *en,
                                const weft_token_logprobs *l, size_t *text_offset) {
    size_t n_chars = 0, ignored = 0;
    json_t *top = json_array();
    for (uint32_t i = 0; i < l->n_top; i++) {
        json_array_append_new(top, token_json(en, &l->top[i], &ignored));
    }
    json_t *entry = token_json(en, &l->token, &n_chars);
    json_object_set_new(entry, "top_logprobs", top);
    if (!h->is_chat) {
        json_object_set_new(entry, "text_offset", json_integer((json_int_t)*text_offset));
        *text_offset += n_chars;
    }
    return entry;
}

/* Entries to {"tokens", "token_logprobs", "top_logprobs", "text_offset"}. */
static json_t *turn_over(json_t *entries) {
    json_t *tokens = json_array(), *logprobs = json_array(), *tops = json_array(),
           *offsets = json_array();
    for (size_t i = 0; i < json_array_size(entries); i++) {
        json_t *entry = json_array_get(entries, i);
        json_t *alternatives = json_object_get(entry, "top_logprobs");
        json_t *top = json_object();
        for (size_t j = 0; j < json_array_size(alternatives); j++) {
            json_t *a = json_array_get(alternatives, j);
            json_object_set(top, json_string_value(json_object_get(a, "token")),
                            json_object_get(a, "logprob"));
        }
        json_array_append(tokens, json_object_get(entry, "token"));
        json_array_append(logprobs, json_object_get(entry, "logprob"));
        json_array_append(offsets, json_object_get(entry, "text_offset"));
        json_array_append_new(tops, top);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", logprobs,
                     "top_logprobs", tops, "text_offset", offsets);
}

static json_t *logprobs_json(const completion_head *h, json_t *entries) {
    if (entries == NULL) {
        return json_null();
    }
    return h->is_chat ? json_pack("{s:O}", "content", entries) : turn_over(entries);
}

/* ---- answers ---- */

json_t *completion_json_choice(const completion_head *h, uint32_t index, str text, json_t *entries,
                               weft_finish finish) {
    json_t *content = api_json_text(text.data != NULL ? text.data : "", text.len);
    json_t *logprobs = logprobs_json(h, entries);
    if (h->is_chat) {
        return json_pack("{s:i, s:{s:s, s:o}, s:o, s:s?}", "index", (int)index, "message", "role",
                         "assistant", "content", content, "logprobs", logprobs, "finish_reason",
                         finish_name(finish));
    }
    return json_pack("{s:i, s:o, s:o, s:s?}", "index", (int)index, "text", content, "logprobs",
                     logprobs, "finish_reason", finish_name(finish));
}

static json_t *usage_json(const weft_usage *u) {
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:I}", "prompt_tokens", (json_int_t)u->prompt_tokens,
                     "completion_tokens", (json_int_t)u->completion_tokens, "total_tokens",
                     (json_int_t)u->prompt_tokens + u->completion_tokens, "prompt_tokens_details",
                     "cached_tokens", (json_int_t)u->cached_tokens, "seed", (json_int_t)u->seed);
}

static json_t *frame(const completion_head *h, const char *object, json_t *choices, json_t *usage) {
    json_t *root = json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", h->id, "object", object,
                             "created", (json_int_t)h->created, "model", h->model,
                             "system_fingerprint", "weft-" WEFT_VERSION, "choices", choices);
    if (usage != NULL) {
        json_object_set_new(root, "usage", usage);
    }
    return root;
}

json_t *completion_json_document(const completion_head *h, json_t *choices, const weft_usage *u) {
    return frame(h, h->is_chat ? "chat.completion" : "text_completion", choices, usage_json(u));
}

/* ---- chunks ---- */

static json_t *chunk(const completion_head *h, json_t *choices, json_t *usage) {
    if (usage == NULL && h->has_usage_field) {
        usage = json_null();
    }
    return frame(h, h->is_chat ? "chat.completion.chunk" : "text_completion", choices, usage);
}

json_t *completion_json_role_chunk(const completion_head *h, uint32_t index) {
    return chunk(h,
                 json_pack("[{s:i, s:{s:s, s:s}, s:n, s:n}]", "index", (int)index, "delta", "role",
                           "assistant", "content", "", "logprobs", "finish_reason"),
                 NULL);
}

json_t *completion_json_chunk(const completion_head *h, uint32_t index, str text, json_t *entries,
                              weft_finish finish) {
    json_t *content = api_json_text(text.data != NULL ? text.data : "", text.len);
    json_t *choice = json_pack("{s:i, s:o, s:s?}", "index", (int)index, "logprobs",
                               logprobs_json(h, entries), "finish_reason", finish_name(finish));
    if (h->is_chat) {
        json_object_set_new(choice, "delta",
                            finish == WEFT_FINISH_NONE ? json_pack("{s:O}", "content", content)
                                                       : json_object());
        json_decref(content);
    } else {
        json_object_set_new(choice, "text", content);
    }
    return chunk(h, json_pack("[o]", choice), NULL);
}

void completion_json_text_event(buf *out, const completion_head *h, uint32_t index, str text) {
    buf_printf(out, "data: {\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":\"", h->id,
               h->is_chat ? "chat.completion.chunk" : "text_completion", (long long)h->created);
    api_json_escape(out, str_from_cstr(h->model));
    buf_printf(out,
               "\",\"system_fingerprint\":\"weft-" WEFT_VERSION "\",\"choices\":[{\"index\":%u,"
               "\"logprobs\":null,\"finish_reason\":null,%s",
               index, h->is_chat ? "\"delta\":{\"content\":\"" : "\"text\":\"");
    api_json_escape(out, text);
    buf_append_cstr(out, h->is_chat ? "\"}}]" : "\"}]");
    buf_append_cstr(out, h->has_usage_field ? ",\"usage\":null}\n\n" : "}\n\n");
}

json_t *completion_json_usage_chunk(const completion_head *h, const weft_usage *u) {
    return chunk(h, json_array(), usage_json(u));
}
