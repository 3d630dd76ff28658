/* openai_request.c - one table of fields, one small reader for each kind of value.
 *
 * The table is the API's contract: a name that is not in it is refused, so that a client never
 * believes that something was honoured that was not. Ranges of sampling values are checked again by
 * the sampler; here only what JSON can get wrong is.
 */
#include "api/openai_request.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "api/api_json.h"
#include "api/openai_chat.h"
#include "base/mem.h"

#define TEXT_MAX_TOKENS_DEFAULT 16u /* of /v1/completions, as OpenAI documents it */
#define BIAS_MAX 1024u
#define TIMEOUT_MS_MAX 86400000.0 /* a day */
#define TEXT_BYTES_A_TOKEN 4u     /* of most texts: more to a token is rare in long ones */

typedef struct field field;
typedef bool field_fn(openai_request *r, const field *f, const json_t *v, api_error *e);

struct field {
    const char *name;
    unsigned kinds; /* openai_kind bits */
    field_fn *read;
    size_t offset; /* into weft_request_options, for numbers */
    double min, max;
};

#define OPTION(member) offsetof(weft_request_options, member)
#define BOTH (OPENAI_CHAT | OPENAI_TEXT)

static field_fn read_model, read_stream, read_stream_options, read_n, read_float, read_int,
    read_max_tokens, read_bool, read_seed, read_stop, read_bias, read_logprobs_flag,
    read_logprobs_count, read_top_logprobs, read_later, read_label, read_only_false, read_only_one,
    read_only_null, read_format, read_object, read_flag, read_priority, read_timeout;

static const field fields[] = {
    {"model", BOTH, read_model, 0, 0, 0},
    {"messages", OPENAI_CHAT, read_later, 0, 0, 0},
    {"prompt", OPENAI_TEXT, read_later, 0, 0, 0},
    {"stream", BOTH, read_stream, 0, 0, 0},
    {"stream_options", BOTH, read_stream_options, 0, 0, 0},
    {"n", BOTH, read_n, 0, 1, OPENAI_CHOICES_MAX},
    {"max_tokens", BOTH, read_max_tokens, 0, 1, UINT32_MAX},
    {"max_completion_tokens", OPENAI_CHAT, read_max_tokens, 0, 1, UINT32_MAX},
    {"temperature", BOTH, read_float, OPTION(temperature), 0, 100},
    {"top_p", BOTH, read_float, OPTION(top_p), 1e-6, 1},
    {"min_p", BOTH, read_float, OPTION(min_p), 0, 1},
    {"top_k", BOTH, read_int, OPTION(top_k), -1, INT32_MAX},
    {"presence_penalty", BOTH, read_float, OPTION(presence_penalty), -2, 2},
    {"frequency_penalty", BOTH, read_float, OPTION(frequency_penalty), -2, 2},
    {"repetition_penalty", BOTH, read_float, OPTION(repetition_penalty), 1e-6, 100},
    {"seed", BOTH, read_seed, 0, 0, 0},
    {"stop", BOTH, read_stop, 0, 0, 0},
    {"logit_bias", BOTH, read_bias, 0, 0, 0},
    {"logprobs", OPENAI_CHAT, read_logprobs_flag, 0, 0, 0},
    {"logprobs", OPENAI_TEXT, read_logprobs_count, 0, 0, WEFT_TOP_LOGPROBS_MAX},
    {"top_logprobs", OPENAI_CHAT, read_top_logprobs, 0, 0, WEFT_TOP_LOGPROBS_MAX},
    {"ignore_eos", BOTH, read_bool, OPTION(ignore_eos), 0, 0},
    {"add_generation_prompt", OPENAI_CHAT, read_flag, 0, 0, 0},
    {"continue_final_message", OPENAI_CHAT, read_flag, 0, 0, 0},
    {"chat_template_kwargs", OPENAI_CHAT, read_object, 0, 0, 0},
    {"tools", OPENAI_CHAT, read_later, 0, 0, 0},
    {"tool_choice", OPENAI_CHAT, read_later, 0, 0, 0},
    {"documents", OPENAI_CHAT, read_later, 0, 0, 0},
    {"response_format", OPENAI_CHAT, read_format, 0, 0, 0},
    {"priority", BOTH, read_priority, 0, -WEFT_PRIORITY_MAX, -WEFT_PRIORITY_MIN},
    {"timeout_ms", BOTH, read_timeout, 0, 1, TIMEOUT_MS_MAX},
    {"user", BOTH, read_label, 0, 0, 0},
    {"safety_identifier", BOTH, read_label, 0, 0, 0},
    {"metadata", OPENAI_CHAT, read_object, 0, 0, 0},
    {"store", OPENAI_CHAT, read_only_false, 0, 0, 0},
    {"echo", OPENAI_TEXT, read_only_false, 0, 0, 0},
    {"best_of", OPENAI_TEXT, read_only_one, 0, 0, 0},
    {"suffix", OPENAI_TEXT, read_only_null, 0, 0, 0},
    {"parallel_tool_calls", OPENAI_CHAT, read_only_null, 0, 0, 0},
    {"functions", OPENAI_CHAT, read_only_null, 0, 0, 0},
    {"function_call", OPENAI_CHAT, read_only_null, 0, 0, 0},
    {"reasoning_effort", OPENAI_CHAT, read_only_null, 0, 0, 0},
    {"modalities", OPENAI_CHAT, read_only_null, 0, 0, 0},
    {"audio", OPENAI_CHAT, read_only_null, 0, 0, 0},
};

/* ---- values ---- */

static bool wrong_type(const field *f, const json_t *v, const char *wanted, api_error *e) {
    return api_error_bad(e, f->name, "'%s' is %s, wanted %s", f->name, api_json_type(v), wanted);
}

static bool get_integer(const field *f, const json_t *v, double min, double max, json_int_t *out,
                        api_error *e) {
    if (!json_is_integer(v)) {
        return wrong_type(f, v, "an integer", e);
    }
    const json_int_t i = json_integer_value(v);
    if ((double)i < min || (double)i > max) {
        return api_error_bad(e, f->name, "'%s' is %lld, wanted %.0f to %.0f", f->name, (long long)i,
                             min, max);
    }
    *out = i;
    return true;
}

static bool get_bool(const field *f, const json_t *v, bool *out, api_error *e) {
    if (!json_is_boolean(v)) {
        return wrong_type(f, v, "a boolean", e);
    }
    *out = json_is_true(v);
    return true;
}

static void *option_at(openai_request *r, const field *f) {
    return (char *)&r->options + f->offset;
}

static bool read_model(openai_request *r, const field *f, const json_t *v, api_error *e) {
    r->model = json_string_value(v);
    return r->model != NULL || wrong_type(f, v, "a string", e);
}

static bool read_stream(openai_request *r, const field *f, const json_t *v, api_error *e) {
    return get_bool(f, v, &r->is_stream, e);
}

static bool read_stream_options(openai_request *r, const field *f, const json_t *v, api_error *e) {
    const char *key;
    json_t *value;
    if (!json_is_object(v)) {
        return wrong_type(f, v, "an object", e);
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, value) {
        if (strcmp(key, "include_usage") != 0) {
            return api_error_bad(e, f->name, "'stream_options.%s' is not supported", key);
        }
        if (!json_is_null(value) && !get_bool(f, value, &r->has_usage, e)) {
            return false;
        }
    }
    return true;
}

static bool read_n(openai_request *r, const field *f, const json_t *v, api_error *e) {
    json_int_t n = 0;
    if (!get_integer(f, v, f->min, f->max, &n, e)) {
        return false;
    }
    r->n = (uint32_t)n;
    return true;
}

static bool read_float(openai_request *r, const field *f, const json_t *v, api_error *e) {
    if (!json_is_number(v)) {
        return wrong_type(f, v, "a number", e);
    }
    const double d = json_number_value(v);
    if (d < f->min || d > f->max) {
        return api_error_bad(e, f->name, "'%s' is %g, wanted %g to %g", f->name, d, f->min, f->max);
    }
    *(float *)option_at(r, f) = (float)d;
    return true;
}

/* top_k: -1 and 0 both mean off. */
static bool read_int(openai_request *r, const field *f, const json_t *v, api_error *e) {
    json_int_t i = 0;
    if (!get_integer(f, v, f->min, f->max, &i, e)) {
        return false;
    }
    *(int32_t *)option_at(r, f) = i < 0 ? 0 : (int32_t)i;
    return true;
}

static bool read_max_tokens(openai_request *r, const field *f, const json_t *v, api_error *e) {
    json_int_t i = 0;
    if (!get_integer(f, v, f->min, f->max, &i, e)) {
        return false;
    }
    if (r->kind == OPENAI_CHAT && r->options.max_tokens != 0 &&
        r->options.max_tokens != (uint32_t)i) {
        return api_error_bad(e, f->name, "'max_tokens' and 'max_completion_tokens' differ");
    }
    r->options.max_tokens = (uint32_t)i;
    return true;
}

static bool read_bool(openai_request *r, const field *f, const json_t *v, api_error *e) {
    return get_bool(f, v, option_at(r, f), e);
}

static bool read_seed(openai_request *r, const field *f, const json_t *v, api_error *e) {
    json_int_t seed = 0;
    if (!get_integer(f, v, (double)INT64_MIN, (double)INT64_MAX, &seed, e)) {
        return false;
    }
    r->options.seed = (uint64_t)seed;
    r->options.has_seed = true;
    return true;
}

static bool add_stop(openai_request *r, const field *f, const json_t *v, api_error *e) {
    if (!json_is_string(v)) {
        return wrong_type(f, v, "a string or an array of strings", e);
    }
    if (r->options.n_stop == WEFT_STOP_MAX) {
        return api_error_bad(e, f->name, "'stop' has more than %u strings", WEFT_STOP_MAX);
    }
    const size_t len = json_string_length(v);
    if (len == 0 || len > WEFT_STOP_BYTES_MAX || strlen(json_string_value(v)) != len) {
        return api_error_bad(e, f->name, "'stop' has a string of %zu bytes, wanted 1 to %u, no NUL",
                             len, WEFT_STOP_BYTES_MAX);
    }
    r->stops[r->options.n_stop++] = json_string_value(v);
    return true;
}

static bool read_stop(openai_request *r, const field *f, const json_t *v, api_error *e) {
    if (!json_is_array(v)) {
        return add_stop(r, f, v, e);
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (!add_stop(r, f, json_array_get(v, i), e)) {
            return false;
        }
    }
    return true;
}

static bool read_bias(openai_request *r, const field *f, const json_t *v, api_error *e) {
    const char *key;
    json_t *value;
    if (!json_is_object(v)) {
        return wrong_type(f, v, "an object from token ids to numbers", e);
    }
    if (json_object_size(v) > BIAS_MAX) {
        return api_error_bad(e, f->name, "'logit_bias' names %zu tokens, at most %u are taken",
                             json_object_size(v), BIAS_MAX);
    }
    r->bias = mem_array(MEM_API, json_object_size(v), sizeof *r->bias);
    if (r->bias == NULL) {
        return api_error_set(e, 500, NULL, "out of memory for logit_bias");
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, value) {
        uint64_t token = 0;
        if (!str_parse_u64(str_from_cstr(key), &token) || token > INT32_MAX ||
            !json_is_number(value) || fabs(json_number_value(value)) > 100) {
            return api_error_bad(
                e, f->name,
                "'logit_bias' has '%s', wanted token ids with numbers from -100 to "
                "100",
                key);
        }
        r->bias[r->options.n_bias++] =
            (weft_logit_bias){(int32_t)token, (float)json_number_value(value)};
    }
    return true;
}

static bool read_logprobs_flag(openai_request *r, const field *f, const json_t *v, api_error *e) {
    return get_bool(f, v, &r->options.has_logprobs, e);
}

static bool read_logprobs_count(openai_request *r, const field *f, const json_t *v, api_error *e) {
    r->options.has_logprobs = true;
    return read_top_logprobs(r, f, v, e);
}

static bool read_top_logprobs(openai_request *r, const field *f, const json_t *v, api_error *e) {
    json_int_t n = 0;
    if (!get_integer(f, v, f->min, f->max, &n, e)) {
        return false;
    }
    r->options.n_top_logprobs = (uint32_t)n;
    return true;
}

/* As in vLLM, lower goes first; the engine's own counts the other way. */
static bool read_priority(openai_request *r, const field *f, const json_t *v, api_error *e) {
    json_int_t i = 0;
    if (!get_integer(f, v, f->min, f->max, &i, e)) {
        return false;
    }
    r->options.priority = -(int32_t)i;
    return true;
}

static bool read_timeout(openai_request *r, const field *f, const json_t *v, api_error *e) {
    json_int_t ms = 0;
    if (!get_integer(f, v, f->min, f->max, &ms, e)) {
        return false;
    }
    r->options.deadline_ms = (uint32_t)ms;
    return true;
}

/* What the prompt is made of is checked as a whole: openai_chat.c and check_prompt. */
static bool read_later(openai_request *r, const field *f, const json_t *v, api_error *e) {
    (void)r;
    (void)f;
    (void)v;
    (void)e;
    return true;
}

/* Says who asks; changes nothing about the answer. */
static bool read_label(openai_request *r, const field *f, const json_t *v, api_error *e) {
    (void)r;
    return json_is_string(v) || wrong_type(f, v, "a string", e);
}

static bool read_object(openai_request *r, const field *f, const json_t *v, api_error *e) {
    (void)r;
    return json_is_object(v) || wrong_type(f, v, "an object", e);
}

static bool read_flag(openai_request *r, const field *f, const json_t *v, api_error *e) {
    bool value;
    (void)r;
    return get_bool(f, v, &value, e);
}

static bool read_only_false(openai_request *r, const field *f, const json_t *v, api_error *e) {
    (void)r;
    return json_is_false(v) || api_error_bad(e, f->name, "'%s' is not supported", f->name);
}

static bool read_only_one(openai_request *r, const field *f, const json_t *v, api_error *e) {
    (void)r;
    return (json_is_integer(v) && json_integer_value(v) == 1) ||
           api_error_bad(e, f->name, "'%s' other than 1 is not supported", f->name);
}

static bool read_only_null(openai_request *r, const field *f, const json_t *v, api_error *e) {
    (void)r;
    (void)v;
    return api_error_bad(e, f->name, "'%s' is not supported", f->name);
}

static bool read_format(openai_request *r, const field *f, const json_t *v, api_error *e) {
    (void)r;
    const char *type = json_string_value(json_object_get(v, "type"));
    return (type != NULL && strcmp(type, "text") == 0) ||
           api_error_bad(e, f->name,
                         "'response_format' other than {\"type\": \"text\"} is not "
                         "supported");
}

/* ---- the whole body ---- */

static const field *find_field(openai_kind kind, const char *name) {
    for (size_t i = 0; i < WEFT_LEN(fields); i++) {
        if ((fields[i].kinds & (unsigned)kind) != 0 && strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static bool read_fields(openai_request *r, api_error *e) {
    const char *key;
    json_t *value;
    json_object_foreach(r->body, key, value) {
        const field *f = find_field(r->kind, key);
        if (f == NULL) {
            return api_error_bad(e, key, "'%s' is not a known parameter", key);
        }
        if (!json_is_null(value) && !f->read(r, f, value, e)) {
            return false;
        }
    }
    return true;
}

static bool check_prompt(const openai_request *r, api_error *e) {
    const char *name = r->kind == OPENAI_CHAT ? "messages" : "prompt";
    const json_t *v = json_object_get(r->body, name);
    if (v == NULL || json_is_null(v)) {
        return api_error_bad(e, name, "'%s' is missing", name);
    }
    if (r->kind == OPENAI_TEXT && json_is_array(v) && json_array_size(v) == 0) {
        return api_error_bad(e, name, "'prompt' is empty");
    }
    if (openai_request_prompt_count(r) > OPENAI_PROMPTS_MAX) {
        return api_error_bad(e, name, "'prompt' has %u prompts, at most %u are taken",
                             openai_request_prompt_count(r), OPENAI_PROMPTS_MAX);
    }
    return r->kind != OPENAI_CHAT || openai_chat_check(r->body, e);
}

bool openai_request_read(openai_request *r, openai_kind kind, str body, api_error *e) {
    json_error_t where;
    *r = (openai_request){
        .kind = kind, .body_bytes = body.len, .n = 1, .options = weft_request_options_default()};
    if (kind == OPENAI_TEXT) {
        r->options.max_tokens = TEXT_MAX_TOKENS_DEFAULT;
    }
    r->body =
        json_loadb(body.data != NULL ? body.data : "", body.len, JSON_REJECT_DUPLICATES, &where);
    if (r->body == NULL) {
        return api_error_bad(e, NULL, "the body is not valid JSON: line %d, column %d: %s",
                             where.line, where.column, where.text);
    }
    if (!json_is_object(r->body)) {
        return api_error_bad(e, NULL, "the body is %s, wanted an object", api_json_type(r->body));
    }
    if (!read_fields(r, e) || !check_prompt(r, e)) {
        return false;
    }
    if (r->options.n_top_logprobs > 0 && !r->options.has_logprobs) {
        return api_error_bad(e, "top_logprobs", "'top_logprobs' wants 'logprobs' to be true");
    }
    if (r->has_usage && !r->is_stream) {
        return api_error_bad(e, "stream_options", "'stream_options' wants 'stream' to be true");
    }
    r->options.stop = r->stops;
    r->options.bias = r->bias;
    return true;
}

void openai_request_deinit(openai_request *r) {
    json_decref(r->body);
    mem_free(r->bias);
    *r = (openai_request){0};
}

void openai_request_forget_body(openai_request *r) {
    json_t *stop = r->options.stop != NULL ? json_incref(json_object_get(r->body, "stop")) : NULL;
    json_decref(r->body);
    r->body = stop;
    r->model = NULL;
}

/* ---- prompts ---- */

uint32_t openai_request_prompt_count(const openai_request *r) {
    const json_t *v = json_object_get(r->body, "prompt");
    if (r->kind == OPENAI_CHAT || !json_is_array(v) || json_is_integer(json_array_get(v, 0))) {
        return 1;
    }
    const size_t n = json_array_size(v);
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static bool token_prompt(const json_t *ids, weft_tokens *out, api_error *e) {
    const size_t n = json_array_size(ids);
    int32_t *copy = mem_array(MEM_API, n, sizeof *copy);
    if (copy == NULL) {
        return api_error_set(e, 500, NULL, "out of memory for the prompt");
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) > INT32_MAX) {
            mem_free(copy);
            return api_error_bad(e, "prompt", "'prompt' element %zu is not a token id", i);
        }
        copy[i] = (int32_t)json_integer_value(id);
    }
    *out = (weft_tokens){.ids = copy, .count = n, .capacity = n};
    return true;
}

/* Prompt i of a text completion. */
static const json_t *prompt_json(const openai_request *r, uint32_t i) {
    const json_t *v = json_object_get(r->body, "prompt");
    const bool is_one = !json_is_array(v) || json_is_integer(json_array_get(v, 0));
    return is_one ? v : json_array_get(v, i);
}

bool openai_request_prompt(const openai_request *r, uint32_t i, const weft_engine *en,
                           weft_tokens *out, api_error *e) {
    weft_error err;
    if (r->kind == OPENAI_CHAT) {
        return openai_chat_prompt(r->body, en, out, e);
    }
    const json_t *v = prompt_json(r, i);
    if (json_is_array(v)) {
        return token_prompt(v, out, e);
    }
    if (!json_is_string(v)) {
        return api_error_bad(e, "prompt",
                             "'prompt' is %s, wanted a string, token ids, or an array of those",
                             api_json_type(v));
    }
    const weft_status status =
        weft_tokenize(en, json_string_value(v), json_string_length(v),
                      WEFT_TOKENIZE_SPECIAL | WEFT_TOKENIZE_PARSE, out, &err);
    return status == WEFT_OK || api_error_from(e, status, &err);
}

/* ---- what can never fit ---- */

/* *n: tokens of prompt i, or 1 where they are not worth counting. */
static bool count_tokens(const openai_request *r, uint32_t i, const weft_engine *en, uint32_t ctx,
                         size_t *n, api_error *e) {
    const json_t *v = r->kind == OPENAI_TEXT ? prompt_json(r, i) : NULL;
    const size_t bytes = r->kind == OPENAI_TEXT ? json_string_length(v) : r->body_bytes;
    *n = 1;
    if (json_is_array(v)) {
        *n = json_array_size(v);
    } else if (bytes / TEXT_BYTES_A_TOKEN >= ctx) {
        weft_tokens tokens = {0};
        const bool is_fine = openai_request_prompt(r, i, en, &tokens, e);
        *n = tokens.count;
        weft_tokens_deinit(&tokens);
        return is_fine;
    }
    return true;
}

bool openai_request_fits(const openai_request *r, const weft_engine *en, api_error *e) {
    const uint32_t ctx = weft_engine_info_now(en).ctx;
    const uint32_t n_answer = r->options.max_tokens > 0 ? r->options.max_tokens : 1;
    const uint32_t n_prompts = openai_request_prompt_count(r);
    for (uint32_t i = 0; i < n_prompts; i++) {
        size_t n = 0;
        if (!count_tokens(r, i, en, ctx, &n, e)) {
            return false;
        }
        if (n >= ctx || n_answer > ctx - n) {
            weft_error err;
            const weft_status status =
                weft_fail(&err, WEFT_LIMIT,
                          "a prompt of at least %zu tokens and an answer of up "
                          "to %u are more than the context of %u",
                          n, n_answer, ctx);
            return api_error_from(e, status, &err);
        }
    }
    return true;
}
