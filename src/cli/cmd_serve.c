/* cmd_serve.c - the server: listens first, loads the model beside it, drains on a signal.
 *
 *   main thread     http event loop (one, unpinned)
 *   loader thread   opens the engine, then /health turns 200
 *
 * The first SIGINT or SIGTERM stops listening and lets running answers finish for up to 15 s; a
 * second ends at once.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/log.h"
#include "base/os.h"
#include "cli/cli.h"

#define DRAIN_MS 15000u
#define SEQS_PER_CORE 32u /* answers beyond that make each other slower and none sooner */
#define SEQS_DEFAULT_MAX 256u
#define KV_SHARE 4u /* a quarter of the available memory */

typedef struct serve_options {
    cli_model_options model;
    const char *host, *alias, *log_format, *kv_cache;
    args_strings keys;
    uint32_t port, seqs, queue, queue_tokens, batch_rows, itl_target_ms;
    uint64_t kv_mem_bytes;
    bool shares_no_prefix;
} serve_options;

typedef struct serve {
    const serve_options *o;
    const char *path;
    weft_runtime *rt;
    weft_engine *en;
    api *api;
    http_server *server;
    weft_engine_options engine;
    char kv_cache_dir[4096];
    weft_status load_status;
    weft_error load_error;
    _Atomic bool is_stopping;
} serve;

static http_server *signal_server; /* what the handler stops; set before the handlers are */

static void on_signal(int signal_number) {
    (void)signal_number;
    http_server_stop(signal_server, DRAIN_MS);
}

static void catch_signals(http_server *server) {
    struct sigaction action = {.sa_handler = on_signal};
    signal_server = server;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* From here on a signal ends the process. */
static void leave_signals(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* "dir/SmolLM2.Q4_1.gguf" -> "SmolLM2.Q4_1" */
static void model_name(const char *path, char *out, size_t out_bytes) {
    const char *slash = strrchr(path, '/');
    const str name = str_from_cstr(slash != NULL ? slash + 1 : path);
    const size_t n = str_ends_with(name, STR_LIT(".gguf")) ? name.len - 5 : name.len;
    snprintf(out, out_bytes, "%.*s", (int)n, name.data);
}

static bool keep_loading(void *user, uint64_t done_bytes, uint64_t total_bytes) {
    serve *s = user;
    (void)done_bytes;
    (void)total_bytes;
    return !atomic_load(&s->is_stopping);
}

/* The engine has told of new tokens. */
static void wake_server(void *user) {
    const serve *s = user;
    http_server_wake(s->server);
}

static void announce(const serve *s) {
    const weft_engine_info i = weft_engine_info_now(s->en);
    LOG_INFO("%s: context %u, %u sequences at once, %.2f GiB planned", i.path, i.ctx, i.seqs,
             (double)i.planned.total_bytes / (1u << 30));
    printf("listening on http://%s%s%s:%u\n", strchr(s->o->host, ':') != NULL ? "[" : "",
           s->o->host, strchr(s->o->host, ':') != NULL ? "]" : "", http_server_port(s->server));
    fflush(stdout);
}

static void *load_main(void *arg) {
    serve *s = arg;
    os_thread_name("weft-load");
    s->load_status = weft_engine_open(&s->en, s->rt, s->path, &s->engine, &s->load_error);
    if (s->load_status == WEFT_OK) {
        api_set_engine(s->api, s->en);
        announce(s);
    } else {
        http_server_stop(s->server, 0);
    }
    return NULL;
}

/* A quarter of what is available, or of the budget when that is less. */
static uint64_t default_kv_mem(const serve_options *o) {
    const uint64_t available = os_mem_available_bytes();
    const uint64_t budget = o->model.mem_bytes;
    return (budget != 0 && budget < available ? budget : available) / KV_SHARE;
}

static uint32_t default_seqs(void) {
    const uint32_t n = SEQS_PER_CORE * os_cores();
    return n < SEQS_DEFAULT_MAX ? n : SEQS_DEFAULT_MAX;
}

static const struct {
    const char *name;
    journal_format format;
} log_formats[] = {{"logfmt", JOURNAL_LOGFMT}, {"json", JOURNAL_JSON}, {"none", JOURNAL_NONE}};

static journal_format log_format(const char *name) {
    size_t i = 0;
    while (i < WEFT_LEN(log_formats) - 1 && strcmp(log_formats[i].name, name) != 0) {
        i++;
    }
    return log_formats[i].format;
}

static void print_request(void *user, const char *line) {
    (void)user;
    fprintf(stderr, "%s\n", line);
}

/* "DIR" or "DIR:SIZE": the last colon counts when a size follows it. */
static weft_status read_kv_cache(const char *text, char *dir, size_t dir_bytes, uint64_t *bytes,
                                 weft_error *err) {
    const str all = str_from_cstr(text);
    const char *colon = strrchr(text, ':');
    const size_t len = colon != NULL && str_parse_bytes(str_from_cstr(colon + 1), bytes)
                           ? (size_t)(colon - text)
                           : all.len;
    if (len == 0 || len >= dir_bytes) {
        return weft_fail(err, WEFT_INVALID, "option --kv-cache-dir is '%s', wanted DIR or DIR:SIZE",
                         text);
    }
    memcpy(dir, text, len);
    dir[len] = 0;
    return WEFT_OK;
}

static weft_status set_up(serve *s, weft_error *err) {
    const serve_options *o = s->o;
    weft_runtime_options runtime;
    char name[256];
    model_name(s->path, name, sizeof name);
    const api_options names = {.model_id = o->alias != NULL ? o->alias : name,
                               .keys = o->keys.values,
                               .n_keys = o->keys.count,
                               .log_format = log_format(o->log_format),
                               .log = print_request};
    http_options http = http_options_default();
    weft_status status = cli_runtime_options(&o->model, &runtime, err);
    if (status == WEFT_OK) {
        status = cli_kv_type(o->model.kv_type, &s->engine.kv_type, err);
    }
    if (status == WEFT_OK) {
        status = cli_weights_form(o->model.weights, &s->engine.maps_weights, err);
    }
    if (status == WEFT_OK) {
        status = cli_pack_cache(o->model.pack_cache, &s->engine.pack_cache_dir,
                                &s->engine.pack_cache_bytes, err);
    }
    if (status == WEFT_OK && o->kv_cache != NULL) {
        status = read_kv_cache(o->kv_cache, s->kv_cache_dir, sizeof s->kv_cache_dir,
                               &s->engine.kv_cache_bytes, err);
        s->engine.kv_cache_dir = s->kv_cache_dir;
    }
    if (status == WEFT_OK) {
        status = weft_runtime_create(&s->rt, &runtime, err);
    }
    if (status == WEFT_OK) {
        status = api_create(&s->api, &names, err);
    }
    if (status == WEFT_OK) {
        http.host = o->host;
        http.port = (uint16_t)o->port;
        http.handler = api_handle;
        http.refusal = api_refusal;
        http.user = s->api;
        status = http_server_create(&s->server, &http, err);
    }
    s->engine.ctx = o->model.ctx;
    s->engine.seqs = o->seqs != 0 ? o->seqs : default_seqs();
    s->engine.queue = o->queue;
    s->engine.queue_tokens = o->queue_tokens;
    s->engine.batch_rows = o->batch_rows;
    s->engine.shares_no_prefix = o->shares_no_prefix;
    s->engine.itl_target_ms = o->itl_target_ms;
    s->engine.kv_mem_bytes = o->kv_mem_bytes != 0 ? o->kv_mem_bytes : default_kv_mem(o);
    s->engine.progress = keep_loading;
    s->engine.progress_user = s;
    s->engine.on_turn = wake_server;
    s->engine.turn_user = s;
    return status;
}

static weft_status run(const char *path, const serve_options *o, weft_error *err) {
    serve s = {.o = o, .path = path, .engine = weft_engine_options_default()};
    pthread_t loader;
    bool has_loader = false;
    weft_status status = set_up(&s, err);
    if (status == WEFT_OK) {
        catch_signals(s.server);
        has_loader = os_thread_start(&loader, load_main, &s) == 0;
        status = has_loader ? http_server_run(s.server, err)
                            : weft_fail(err, WEFT_NOMEM, "cannot start the loading thread");
    }
    if (has_loader) {
        atomic_store(&s.is_stopping, true);
        pthread_join(loader, NULL);
        if (status == WEFT_OK && s.load_status != WEFT_OK && s.load_status != WEFT_CANCELLED) {
            status = s.load_status;
            *err = s.load_error;
        }
    }
    leave_signals();
    api_destroy(&s.api);      /* uses the engine until then */
    weft_engine_close(&s.en); /* wakes the server until then */
    http_server_destroy(&s.server);
    weft_runtime_destroy(&s.rt);
    return status;
}

static weft_status check_words(serve_options *o, weft_error *err) {
    const char *key = getenv("WEFT_API_KEY");
    if (o->keys.count == 0 && key != NULL) {
        o->keys.values[o->keys.count++] = key;
    }
    for (uint32_t i = 0; i < o->keys.count; i++) {
        if (o->keys.values[i][0] == 0) {
            return weft_fail(err, WEFT_INVALID, "the API key is empty");
        }
    }
    for (size_t i = 0; i < WEFT_LEN(log_formats); i++) {
        if (strcmp(log_formats[i].name, o->log_format) == 0) {
            return WEFT_OK;
        }
    }
    return weft_fail(err, WEFT_INVALID, "option --log-format is '%s', wanted logfmt, json or none",
                     o->log_format);
}

int cmd_serve(int argc, char **argv) {
    serve_options o = {.model = {.kv_type = "f16"},
                       .host = "127.0.0.1",
                       .port = 8080,
                       .queue = 256,
                       .log_format = "logfmt"};
    const args_option options[] = {
        {"--host", 0, ARGS_STRING, &o.host, 0, 0, "H", "address to listen on (127.0.0.1)"},
        {"--port", 'p', ARGS_U32, &o.port, 0, 65535, "P", "port, 0 = a free one (8080)"},
        {"--api-key", 0, ARGS_STRINGS, &o.keys, 0, 0, "KEY",
         "key clients must send; given several times, each is one client"},
        {"--alias", 0, ARGS_STRING, &o.alias, 0, 0, "NAME", "model name clients use (file name)"},
        {"--log-format", 0, ARGS_STRING, &o.log_format, 0, 0, "F",
         "a line for each request on stderr: logfmt, json or none (logfmt)"},
        {"--max-seqs", 0, ARGS_U32, &o.seqs, 1, 4096, "N",
         "requests running at once (32 a core, at most 256)"},
        {"--queue", 0, ARGS_U32, &o.queue, 1, 65536, "N", "requests waiting at once (256)"},
        {"--queue-tokens", 0, ARGS_U32, &o.queue_tokens, 1, 1e9, "N",
         "tokens of the prompts waiting (1048576)"},
        {"--max-batch-tokens", 0, ARGS_U32, &o.batch_rows, 1, 65536, "N",
         "tokens of one step (64 a thread, at least 512, at most 2048)"},
        {"--itl-target-ms", 0, ARGS_U32, &o.itl_target_ms, 1, 60000, "N",
         "longest step while answers run (a step and 0.66 of one a prompt, at least 50 a prompt)"},
        {"--ctx", 'c', ARGS_U32, &o.model.ctx, 1, 1e9, "N", "context of one request (8192)"},
        {"--kv-mem", 0, ARGS_BYTES, &o.kv_mem_bytes, 0, 0, "SIZE",
         "memory for the KV cache (a quarter of what is available)"},
        {"--kv-type", 0, ARGS_STRING, &o.model.kv_type, 0, 0, "T", "f16, f32, q8_0 or q4_0 (f16)"},
        {"--kv-cache-dir", 0, ARGS_STRING, &o.kv_cache, 0, 0, "DIR[:SIZE]",
         "keep pages of known beginnings here, between starts too (8G)"},
        {"--no-prefix-cache", 0, ARGS_FLAG, &o.shares_no_prefix, 0, 0, NULL,
         "run every prompt whole, to compare"},
        {"--mem", 0, ARGS_BYTES, &o.model.mem_bytes, 0, 0, "SIZE", "memory budget (none)"},
        {"--pack-cache", 0, ARGS_STRING, &o.model.pack_cache, 0, 0, "SIZE",
         "disk for packed weights, which make the next start faster; off = none (8G)"},
        {"--weights", 0, ARGS_STRING, &o.model.weights, 0, 0, "FORM",
         "packed, or mapped: from the file, slow, for little memory (packed)"},
        {"--threads", 't', ARGS_U32, &o.model.threads, 1, 1024, "N", "threads (physical cores)"},
        {"--unpinned", 0, ARGS_FLAG, &o.model.is_unpinned, 0, 0, NULL,
         "let the system move threads from core to core"},
        {"--act-type", 0, ARGS_STRING, &o.model.act_type, 0, 0, "T",
         "what BF16 weights multiply: f32, or bf16: faster, less exact (f32)"},
        {"--cpu-mask", 0, ARGS_STRING, &o.model.cpu_mask, 0, 0, "SETS", "instruction sets to use"},
    };
    const args_command command = {
        .name = "serve",
        .synopsis = "MODEL",
        .summary = "Serves OpenAI's API: /v1/chat/completions, /v1/completions, /v1/models, "
                   "/health, /metrics.\nThe key may also come from the environment (WEFT_API_KEY).",
        .example = "  weft serve model.gguf --port 8080\n"
                   "  curl http://127.0.0.1:8080/v1/chat/completions -d \\\n"
                   "    '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'",
        .options = options,
        .n_options = WEFT_LEN(options),
        .positionals_min = 1,
        .positionals_max = 1,
    };
    args_result args;
    weft_error err;
    int exit_code = CLI_DONE;
    if (!cli_begin(&command, argc, argv, &args, &exit_code)) {
        return exit_code;
    }
    if (cli_model_options_check(&o.model, &err) != WEFT_OK) {
        return cli_usage(&err);
    }
    if (check_words(&o, &err) != WEFT_OK) {
        return cli_usage(&err);
    }
    return run(args.positionals[0], &o, &err) == WEFT_OK ? CLI_DONE : cli_fail(&err);
}
