/* load_answer.c - chunks and documents, chats and plain completions, read by one walk.
 *
 * Text is whatever the first choice has under delta.content, delta.reasoning_content,
 * message.content or text. A piece without text (a role, a finish reason, usage) is no token and
 * leaves the clock alone.
 */
#include "cli/load_answer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

void load_answer_init(load_answer *a) {
    *a = (load_answer){0};
    sse_init(&a->sse);
    buf_init(&a->body, MEM_CLI, LOAD_ANSWER_BYTES_MAX);
    buf_init(&a->text, MEM_CLI, LOAD_ANSWER_BYTES_MAX);
}

void load_answer_deinit(load_answer *a) {
    sse_deinit(&a->sse);
    buf_deinit(&a->body);
    buf_deinit(&a->text);
}

void load_answer_begin(load_answer *a, bool is_streamed, uint64_t start_ns, load_hist *gaps) {
    const sse s = a->sse;
    const buf body = a->body, text = a->text;
    *a = (load_answer){.is_streamed = is_streamed,
                       .sse = s,
                       .body = body,
                       .text = text,
                       .start_ns = start_ns,
                       .gaps = gaps};
    sse_reset(&a->sse);
    buf_clear(&a->body);
    buf_clear(&a->text);
}

static void set_broken(load_answer *a, const char *why, const char *what) {
    if (a->broken[0] == 0) {
        snprintf(a->broken, sizeof a->broken, "%s%.120s", why, what);
    }
}

static void take_text(load_answer *a, const json_t *v) {
    if (!json_is_string(v) || json_string_length(v) == 0) {
        return;
    }
    if (a->n_pieces == 0) {
        a->first_ns = a->now_ns;
    } else {
        const double gap_ms = (double)(a->now_ns - a->last_ns) * 1e-6;
        a->gap_max_ms = gap_ms > a->gap_max_ms ? gap_ms : a->gap_max_ms;
        if (a->gaps != NULL) {
            load_hist_add(a->gaps, gap_ms);
        }
    }
    a->last_ns = a->now_ns;
    a->n_pieces++;
    buf_append(&a->text, json_string_value(v), json_string_length(v));
}

static uint32_t get_count(const json_t *object, const char *name) {
    const json_int_t n = json_integer_value(json_object_get(object, name));
    return n < 0 || n > UINT32_MAX ? 0 : (uint32_t)n;
}

static void take_usage(load_answer *a, const json_t *usage) {
    if (!json_is_object(usage)) {
        return;
    }
    a->has_usage = true;
    a->prompt_tokens = get_count(usage, "prompt_tokens");
    a->output_tokens = get_count(usage, "completion_tokens");
    a->cached_tokens = get_count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
}

static void take_document(load_answer *a, const char *text, size_t len) {
    json_error_t where;
    json_t *root = json_loadb(text, len, 0, &where);
    const json_t *error = json_object_get(root, "error");
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const json_t *delta = json_object_get(choice, a->is_streamed ? "delta" : "message");
    if (!json_is_object(root)) {
        set_broken(a, "not JSON: ", where.text);
    } else if (error != NULL && !json_is_null(error)) {
        const char *message = json_string_value(json_object_get(error, "message"));
        set_broken(a, "", message != NULL ? message : "an error without a message");
    }
    take_text(a, json_object_get(delta, "reasoning_content"));
    take_text(a, json_object_get(delta, "content"));
    take_text(a, json_object_get(choice, "text"));
    a->is_ended = a->is_ended || json_is_string(json_object_get(choice, "finish_reason"));
    take_usage(a, json_object_get(root, "usage"));
    json_decref(root);
}

static void on_event(void *user, str data) {
    load_answer *a = user;
    if (str_eq_cstr(data, "[DONE]")) {
        a->is_ended = true;
    } else {
        take_document(a, data.data, data.len);
    }
}

void load_answer_push(load_answer *a, const char *bytes, size_t len, uint64_t now_ns) {
    a->now_ns = now_ns;
    if (!a->is_streamed) {
        buf_append(&a->body, bytes, len);
    } else if (!sse_push(&a->sse, bytes, len, on_event, a)) {
        set_broken(a, "an event is too long", "");
    }
}

bool load_answer_finish(load_answer *a, uint64_t now_ns) {
    a->now_ns = now_ns;
    if (!a->is_streamed) {
        take_document(a, buf_cstr(&a->body), a->body.len);
    }
    if (!a->is_ended) {
        set_broken(a, "it ended without a finish reason", "");
    }
    if (a->text.is_failed || a->body.is_failed) {
        set_broken(a, "it is too long, or memory is out", "");
    }
    if (!a->has_usage) {
        a->output_tokens = a->n_pieces;
    }
    return a->broken[0] == 0;
}

void load_answer_error(const load_answer *a, char *out, size_t out_bytes) {
    json_t *root = json_loadb(buf_cstr(&a->body), a->body.len, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *message =
        json_string_value(json_is_object(error) ? json_object_get(error, "message") : error);
    snprintf(out, out_bytes, "%s", message != NULL ? message : buf_cstr(&a->body));
    json_decref(root);
}
