/* api.c - routes. What is asked for, by whom, and which file answers it.
 */
#include "api/api.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/api_error.h"
#include "api/api_json.h"
#include "api/completion.h"
#include "api/metrics.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/utf8.h"

#define METRICS_BYTES_MAX (4u << 20)

struct api {
    char *model_id;
    char *keys[API_KEYS_MAX];
    size_t n_keys; /* 0 = none wanted */
    int64_t created;
    journal journal;
    metrics_refused refused;
    metrics_answers answers;
    _Atomic(weft_engine *) en;
    clerk *clerk;
};

typedef void route_fn(api *a, http_exchange *x);

static route_fn get_health, get_metrics, get_models, post_chat, post_text;

static const struct {
    const char *method, *path;
    bool needs_key, needs_engine;
    route_fn *run;
} routes[] = {
    {"GET", "/health", false, false, get_health},
    {"GET", "/metrics", false, false, get_metrics},
    {"GET", "/v1/models", true, true, get_models},
    {"POST", "/v1/chat/completions", true, true, post_chat},
    {"POST", "/v1/completions", true, true, post_text},
};

weft_status api_create(api **out, const api_options *options, weft_error *err) {
    if (!utf8_is_valid(str_from_cstr(options->model_id))) {
        return weft_fail(err, WEFT_INVALID, "the model's name is not UTF-8: give it an alias");
    }
    api *a = mem_zalloc(MEM_API, 1, sizeof *a);
    if (a == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the API");
    }
    a->created = clock_unix_s();
    metrics_answers_init(&a->answers);
    a->journal =
        (journal){.format = options->log_format, .write = options->log, .user = options->log_user};
    a->model_id = mem_strndup(MEM_API, options->model_id, strlen(options->model_id));
    bool is_fine = a->model_id != NULL;
    WEFT_ASSERT(options->n_keys <= API_KEYS_MAX);
    for (size_t i = 0; i < options->n_keys && is_fine; i++) {
        a->keys[i] = mem_strndup(MEM_API, options->keys[i], strlen(options->keys[i]));
        a->n_keys += is_fine = a->keys[i] != NULL;
    }
    const weft_status status = is_fine ? clerk_create(&a->clerk, COMPLETION_CLERK_BYTES_MAX, err)
                                       : weft_fail(err, WEFT_NOMEM, "out of memory for the API");
    if (status != WEFT_OK) {
        api_destroy(&a);
        return status;
    }
    *out = a;
    return WEFT_OK;
}

void api_destroy(api **a) {
    if (*a != NULL) {
        clerk_destroy(&(*a)->clerk);
        mem_free((*a)->model_id);
        for (size_t i = 0; i < (*a)->n_keys; i++) {
            mem_free((*a)->keys[i]);
        }
        mem_free(*a);
        *a = NULL;
    }
}

void api_set_engine(api *a, weft_engine *en) { atomic_store(&a->en, en); }

/* Takes the same time whatever the first difference is. */
static bool is_same_key(str given, const char *wanted) {
    const size_t len = strlen(wanted);
    unsigned difference = given.len != len;
    for (size_t i = 0; i < given.len; i++) {
        difference |= (unsigned char)given.data[i] ^ (unsigned char)wanted[i < len ? i : 0];
    }
    return difference == 0;
}

/* All keys are looked at, whichever fits. */
static bool has_key(const api *a, const http_exchange *x) {
    const str bearer = STR_LIT("Bearer ");
    const str given = http_header(x, "Authorization");
    bool is_found = a->n_keys == 0;
    for (size_t i = 0; i < a->n_keys && str_starts_with(given, bearer); i++) {
        is_found |= is_same_key(str_slice(given, bearer.len, given.len), a->keys[i]);
    }
    return is_found;
}

static void note_refusal(api *a, const http_exchange *x, int http_status, const char *message) {
    const journal_entry entry = {.endpoint = JOURNAL_OTHER,
                                 .status = http_status,
                                 .client = http_client(x),
                                 .queue_ms = -1,
                                 .prefill_ms = -1,
                                 .decode_ms = -1,
                                 .total_ms = -1,
                                 .error = message};
    journal_add(&a->journal, &entry);
}

static void fail(api *a, http_exchange *x, int http_status, const char *code, const char *message) {
    api_error e;
    api_error_set(&e, http_status, code, message);
    api_error_respond(&e, x);
    note_refusal(a, x, http_status, message);
}

/* ---- routes ---- */

static void get_health(api *a, http_exchange *x) {
    if (http_server_is_draining(http_exchange_server(x))) {
        api_json_respond(x, 503, json_pack("{s:s}", "status", "shutting down"));
    } else if (atomic_load(&a->en) == NULL) {
        api_json_respond(x, 503, json_pack("{s:s}", "status", "loading model"));
    } else {
        api_json_respond(x, 200, json_pack("{s:s}", "status", "ok"));
    }
}

/* No key is wanted: it tells of no prompt or answer, and scrapers seldom have one. */
static void get_metrics(api *a, http_exchange *x) {
    const str names = http_query(x, "names");
    weft_engine *en = atomic_load(&a->en);
    static weft_engine_stats stats; /* large, and this is the only thread */
    weft_engine_info info;
    metrics_source source = {.model_id = a->model_id,
                             .journal = &a->journal,
                             .answers = &a->answers,
                             .refused = a->refused,
                             .preparing = clerk_load_now(a->clerk).jobs,
                             .wakes = http_server_wakes(http_exchange_server(x)),
                             .resident_bytes = os_rss_bytes(),
                             .cpu_s = (double)clock() / CLOCKS_PER_SEC,
                             .start_unix_s = (double)a->created};
    if (names.data != NULL && !str_eq_cstr(names, "vllm") && !str_eq_cstr(names, "weft")) {
        fail(a, x, 400, NULL, "'names' of /metrics is weft or vllm");
        return;
    }
    if (en != NULL) {
        weft_engine_stats_now(en, &stats);
        info = weft_engine_info_now(en);
        source.stats = &stats;
        source.info = &info;
    }
    buf text;
    buf_init(&text, MEM_API, METRICS_BYTES_MAX);
    metrics_write(&text, str_eq_cstr(names, "vllm") ? METRICS_VLLM : METRICS_WEFT, &source);
    if (text.is_failed) {
        fail(a, x, 500, NULL, "out of memory for the metrics");
    } else {
        http_respond(x, 200, METRICS_CONTENT_TYPE, buf_cstr(&text), text.len);
    }
    buf_deinit(&text);
}

static json_t *model_json(const api *a) {
    const weft_engine_info info = weft_engine_info_now(atomic_load(&a->en));
    return json_pack("{s:s, s:s, s:I, s:s, s:i}", "id", a->model_id, "object", "model", "created",
                     (json_int_t)a->created, "owned_by", "weft", "max_model_len", (int)info.ctx);
}

static void get_models(api *a, http_exchange *x) {
    api_json_respond(x, 200, json_pack("{s:s, s:[o]}", "object", "list", "data", model_json(a)));
}

static void get_model(api *a, http_exchange *x, str id) {
    if (str_eq_cstr(id, a->model_id)) {
        api_json_respond(x, 200, model_json(a));
        return;
    }
    char message[256];
    snprintf(message, sizeof message, "the model '" STR_FMT "' does not exist here",
             STR_ARG(str_slice(id, 0, 100)));
    fail(a, x, 404, "model_not_found", message);
}

static void start_completion(api *a, http_exchange *x, openai_kind kind) {
    const str client = a->n_keys > 1 ? http_header(x, "Authorization") : http_client(x);
    const completion_context context = {.en = atomic_load(&a->en),
                                        .clerk = a->clerk,
                                        .model_id = a->model_id,
                                        .client = str_hash(client),
                                        .journal = &a->journal,
                                        .refused = &a->refused,
                                        .answers = &a->answers};
    completion_start(x, kind, &context);
}

static void post_chat(api *a, http_exchange *x) { start_completion(a, x, OPENAI_CHAT); }

static void post_text(api *a, http_exchange *x) { start_completion(a, x, OPENAI_TEXT); }

/* ---- dispatch ---- */

static bool may_pass(api *a, http_exchange *x, bool needs_key, bool needs_engine) {
    if (needs_key && !has_key(a, x)) {
        fail(a, x, 401, "invalid_api_key", "a valid API key is wanted: Authorization: Bearer KEY");
        return false;
    }
    if (needs_engine && atomic_load(&a->en) == NULL) {
        fail(a, x, 503, "loading", "the model is still loading");
        return false;
    }
    if (needs_engine && http_server_is_draining(http_exchange_server(x))) {
        fail(a, x, 503, "shutting_down", "the server is shutting down");
        return false;
    }
    return true;
}

static void answer_unknown(api *a, http_exchange *x, bool is_known_path) {
    char message[256];
    snprintf(message, sizeof message,
             is_known_path ? STR_FMT " is not taken by " STR_FMT
                           : "no such path: " STR_FMT " " STR_FMT,
             STR_ARG(str_slice(http_method(x), 0, 20)), STR_ARG(str_slice(http_path(x), 0, 150)));
    fail(a, x, is_known_path ? 405 : 404, is_known_path ? "method_not_allowed" : "not_found",
         message);
}

void api_handle(void *user, http_exchange *x) {
    api *a = user;
    const str path = http_path(x);
    const str models = STR_LIT("/v1/models/");
    bool is_known_path = false;
    http_set_header(x, "Access-Control-Allow-Origin", "*");
    if (str_eq_cstr(http_method(x), "OPTIONS")) {
        http_set_header(x, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
        http_set_header(x, "Access-Control-Allow-Headers", "Authorization, Content-Type, *");
        http_respond(x, 204, "text/plain", "", 0);
        return;
    }
    for (size_t i = 0; i < WEFT_LEN(routes); i++) {
        if (str_eq_cstr(path, routes[i].path)) {
            is_known_path = true;
            if (str_eq_cstr(http_method(x), routes[i].method)) {
                if (may_pass(a, x, routes[i].needs_key, routes[i].needs_engine)) {
                    routes[i].run(a, x);
                }
                return;
            }
        }
    }
    if (str_starts_with(path, models) && str_eq_cstr(http_method(x), "GET")) {
        if (may_pass(a, x, true, true)) {
            get_model(a, x, str_slice(path, models.len, path.len));
        }
        return;
    }
    answer_unknown(a, x, is_known_path);
}

const char *api_refusal(void *user, const http_exchange *x, int status, const char *message,
                        char *out, size_t out_bytes) {
    api *a = user;
    api_error e;
    buf body;
    const bool is_body = status == 413;
    ++*(is_body ? &a->refused.bodies : &a->refused.headers);
    note_refusal(a, x, status, message);
    api_error_set(&e, status, is_body ? "request_too_large" : "headers_too_large", message);
    json_t *root = api_json_error(&e);
    buf_init(&body, MEM_API, out_bytes);
    const bool is_json = api_json_dump(&body, root) && body.len < out_bytes;
    snprintf(out, out_bytes, "%s", is_json ? buf_cstr(&body) : message);
    buf_deinit(&body);
    json_decref(root);
    return is_json ? "application/json" : "text/plain";
}
