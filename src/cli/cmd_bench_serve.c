/* cmd_bench_serve.c - load on any OpenAI-compatible server, or on two of them in turns.
 *
 * For each load of the sweep, `--rounds` rounds; in a round each server gets the same requests, and
 * which one goes first alternates, so that a busy moment of the machine falls on both alike. No
 * request is ever asked twice of a server, except that both servers get the same ones: what a
 * prefix cache finds is what --shared-prefix and --multi-turn put there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli/cli.h"
#include "cli/load_plot.h"
#include "cli/load_report.h"

#define REQUESTS_A_USER 4u
#define REQUESTS_MIN 16u
#define ROUNDS_COMPARED 3u /* so that turns alternate, and a median leaves one out */
#define PLAIN_STEP_NS UINT64_C(2000000000)
#define REPORT_BYTES_MAX (16u << 20)

typedef struct bench_serve_options {
    const char *url, *compare, *key, *model, *prompt, *answer, *rates, *slo, *extra, *svg;
    args_list users;
    uint32_t requests, duration_s, rounds, warmup, pause_s, turns, shared, groups, retries,
        timeout_s, in_flight_max;
    float shared_share, temperature;
    uint64_t seed;
    bool is_text, is_whole, stops_at_eos, is_json;
} bench_serve_options;

typedef struct bench_serve {
    const bench_serve_options *o;
    load_target targets[LOAD_TARGETS_MAX];
    char *models[LOAD_TARGETS_MAX]; /* owned */
    uint32_t n_targets;
    json_t *extra;
    load_settings settings;
    bool is_open;
    double loads[ARGS_LIST_MAX];
    uint32_t n_loads;
    load_point points[ARGS_LIST_MAX];
    uint64_t n_conversations; /* given out so far */
    char what[96];            /* of the progress line */
    uint64_t shown_ns;
} bench_serve;

/* ---- options ---- */

static weft_status parse_rates(bench_serve *b, const char *text, weft_error *err) {
    str rest = str_from_cstr(text);
    for (size_t comma = 0; comma != SIZE_MAX && b->n_loads < ARGS_LIST_MAX;) {
        double rate = 0;
        comma = str_find(rest, STR_LIT(","), 0);
        if (!str_parse_f64(str_slice(rest, 0, comma), &rate) || !(rate > 0) || rate > 1e6) {
            return weft_fail(err, WEFT_INVALID,
                             "option --rate is '%s', wanted numbers over 0 such as 0.5,2,8", text);
        }
        b->loads[b->n_loads++] = rate;
        rest = comma != SIZE_MAX ? str_slice(rest, comma + 1, rest.len) : rest;
    }
    return WEFT_OK;
}

/* "500ms", "2s" */
static bool parse_ms(str text, double *ms) {
    const bool is_ms = str_ends_with(text, STR_LIT("ms"));
    const size_t unit = is_ms ? 2 : 1;
    if ((!is_ms && !str_ends_with(text, STR_LIT("s"))) ||
        !str_parse_f64(str_slice(text, 0, text.len - unit), ms) || !(*ms > 0)) {
        return false;
    }
    *ms *= is_ms ? 1 : 1000;
    return true;
}

/* "ttft=500ms,itl=50ms,e2e=20s" */
static weft_status parse_slo(load_settings *s, const char *text, weft_error *err) {
    const struct {
        str name;
        double *ms;
    } limits[] = {{STR_LIT("ttft="), &s->slo_ttft_ms},
                  {STR_LIT("itl="), &s->slo_itl_ms},
                  {STR_LIT("e2e="), &s->slo_e2e_ms}};
    str rest = str_from_cstr(text);
    for (size_t comma = 0; comma != SIZE_MAX;) {
        bool is_known = false;
        comma = str_find(rest, STR_LIT(","), 0);
        const str item = str_slice(rest, 0, comma);
        for (size_t i = 0; i < WEFT_LEN(limits); i++) {
            is_known =
                is_known || (str_starts_with(item, limits[i].name) &&
                             parse_ms(str_slice(item, limits[i].name.len, item.len), limits[i].ms));
        }
        if (!is_known) {
            return weft_fail(err, WEFT_INVALID,
                             "option --slo is '%s', wanted limits such as ttft=500ms,itl=50ms,"
                             "e2e=20s",
                             text);
        }
        rest = comma != SIZE_MAX ? str_slice(rest, comma + 1, rest.len) : rest;
    }
    return WEFT_OK;
}

static weft_status parse_extra(bench_serve *b, const char *text, weft_error *err) {
    json_error_t where;
    b->extra = json_loads(text, 0, &where);
    if (!json_is_object(b->extra)) {
        return weft_fail(err, WEFT_INVALID, "option --extra is '%.80s', wanted a JSON object",
                         text);
    }
    b->settings.extra = b->extra;
    return WEFT_OK;
}

static weft_status set_loads(bench_serve *b, weft_error *err) {
    const bench_serve_options *o = b->o;
    b->is_open = o->rates != NULL;
    if (b->is_open) {
        return parse_rates(b, o->rates, err);
    }
    for (b->n_loads = 0; b->n_loads < o->users.count; b->n_loads++) {
        b->loads[b->n_loads] = o->users.values[b->n_loads];
    }
    return WEFT_OK;
}

static weft_status set_up(bench_serve *b, weft_error *err) {
    const bench_serve_options *o = b->o;
    load_settings *s = &b->settings;
    *s = (load_settings){.is_chat = !o->is_text,
                         .is_streamed = !o->is_whole,
                         .ignores_eos = !o->stops_at_eos,
                         .temperature = (double)o->temperature,
                         .duration_s = o->duration_s,
                         .timeout_s = o->timeout_s,
                         .retries_max = o->retries,
                         .keeps_texts = o->compare != NULL,
                         .plan = {.seed = o->seed,
                                  .shared_tokens = o->shared,
                                  .shared_share = (double)o->shared_share,
                                  .shared_groups = o->groups,
                                  .turns = o->turns}};
    b->targets[0] = (load_target){.url = o->url, .key = o->key};
    b->targets[1] = (load_target){.url = o->compare, .key = o->key};
    b->n_targets = o->compare != NULL ? 2 : 1;
    weft_status status = load_lengths_parse(&s->plan.prompt, o->prompt, "--prompt", err);
    if (status == WEFT_OK) {
        status = load_lengths_parse(&s->plan.answer, o->answer, "--gen", err);
    }
    if (status == WEFT_OK && o->slo != NULL) {
        status = parse_slo(s, o->slo, err);
    }
    if (status == WEFT_OK && o->extra != NULL) {
        status = parse_extra(b, o->extra, err);
    }
    return status == WEFT_OK ? set_loads(b, err) : status;
}

/* ---- running ---- */

static void show_progress(void *user, const load_result *r, double seconds, uint32_t in_flight) {
    bench_serve *b = user;
    const bool is_terminal = isatty(2) == 1;
    const uint64_t now = clock_now_ns();
    if (!is_terminal && now - b->shown_ns < PLAIN_STEP_NS) {
        return;
    }
    b->shown_ns = now;
    fprintf(stderr, "%s%s: %.0f s, %llu answered, %u in flight, %.0f tok/s, first token %.0f ms%s",
            is_terminal ? "\r\033[K" : "", b->what, seconds, (unsigned long long)r->n_ok, in_flight,
            seconds > 0 ? (double)r->output_tokens / seconds : 0,
            load_hist_percentile(&r->ttft, 0.5), is_terminal ? "" : "\n");
}

static void clear_progress(void) {
    if (isatty(2) == 1) {
        fprintf(stderr, "\r\033[K");
    }
}

static load_settings settings_at(const bench_serve *b, double load) {
    load_settings s = b->settings;
    s.users = b->is_open ? b->o->in_flight_max : (uint32_t)load;
    s.rate = b->is_open ? load : 0;
    s.requests = b->o->requests;
    if (s.requests == 0 && s.duration_s == 0) {
        const uint32_t users = b->is_open ? 0 : (uint32_t)load;
        s.requests =
            REQUESTS_A_USER * users > REQUESTS_MIN ? REQUESTS_A_USER * users : REQUESTS_MIN;
        s.requests *= s.plan.turns;
    }
    s.first_conversation = b->n_conversations;
    return s;
}

/* Both servers answer the same few requests that no figure counts. */
static weft_status warm_up(bench_serve *b, uint32_t side, weft_error *err) {
    load_result *r = mem_zalloc(MEM_CLI, 1, sizeof *r);
    if (r == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a run");
    }
    load_settings s = settings_at(b, 1);
    s.users = b->o->warmup;
    s.rate = 0;
    s.requests = b->o->warmup;
    s.duration_s = 0;
    snprintf(b->what, sizeof b->what, "warming up %.60s", b->targets[side].url);
    weft_status status = load_run(r, &b->targets[side], &s, show_progress, b, err);
    for (uint32_t e = 0; e < LOAD_ERROR_COUNT && status == WEFT_OK; e++) {
        if (r->errors[e] > 0) {
            status = weft_fail(err, WEFT_IO, "%s: %s", b->targets[side].url, r->error_texts[e]);
        }
    }
    load_result_deinit(r);
    mem_free(r);
    return status;
}

/* One round: every server once, in turn first. The pause lets the other come to rest: one that
 * polls for new work for a while after its last answer would slow down the one whose turn it is.
 */
static weft_status run_round(bench_serve *b, uint32_t at, uint32_t round, load_result *results,
                             load_figures figures[LOAD_TARGETS_MAX][LOAD_ROUNDS_MAX],
                             weft_error *err) {
    load_point *p = &b->points[at];
    const load_settings s = settings_at(b, b->loads[at]);
    weft_status status = WEFT_OK;
    uint64_t n_most = 0;
    for (uint32_t i = 0; i < b->n_targets && status == WEFT_OK; i++) {
        const uint32_t side = (i + round) % b->n_targets;
        load_result *r = &results[side];
        snprintf(b->what, sizeof b->what, "%g %s, round %u of %u, %.40s", p->load,
                 b->is_open ? "a second" : "users", round + 1, b->o->rounds, b->targets[side].url);
        (void)sleep(b->o->pause_s);
        status = load_run(r, &b->targets[side], &s, show_progress, b, err);
        figures[side][round] = load_figures_from(r);
        load_side_add(&p->sides[side], r);
        n_most = r->n_asked > n_most ? r->n_asked : n_most;
    }
    if (b->n_targets == 2 && status == WEFT_OK) {
        load_equality_add(&p->same, &results[0], &results[1]);
    }
    for (uint32_t i = 0; i < b->n_targets; i++) {
        load_result_deinit(&results[i]);
    }
    b->n_conversations += n_most;
    return status;
}

static weft_status run_point(bench_serve *b, uint32_t at, load_result *results, weft_error *err) {
    static load_figures figures[LOAD_TARGETS_MAX][LOAD_ROUNDS_MAX]; /* too large for a stack */
    load_point *p = &b->points[at];
    weft_status status = WEFT_OK;
    *p = (load_point){.load = b->loads[at]};
    for (uint32_t round = 0; round < b->o->rounds && status == WEFT_OK; round++) {
        status = run_round(b, at, round, results, figures, err);
    }
    for (uint32_t side = 0; side < b->n_targets && status == WEFT_OK; side++) {
        p->sides[side].figures = load_figures_median(figures[side], b->o->rounds);
    }
    return status;
}

static weft_status run_all(bench_serve *b, weft_error *err) {
    weft_status status = WEFT_OK;
    load_result *results = mem_zalloc(MEM_CLI, LOAD_TARGETS_MAX, sizeof *results);
    if (results == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the results");
    }
    for (uint32_t side = 0; side < b->n_targets && status == WEFT_OK; side++) {
        if (b->o->model == NULL) {
            status = load_model_find(&b->models[side], &b->targets[side], err);
        }
        b->targets[side].model = b->o->model != NULL ? b->o->model : b->models[side];
    }
    for (uint32_t side = 0; side < b->n_targets && status == WEFT_OK && b->o->warmup > 0; side++) {
        status = warm_up(b, side, err);
    }
    b->n_conversations += b->o->warmup;
    for (uint32_t at = 0; at < b->n_loads && status == WEFT_OK; at++) {
        status = run_point(b, at, results, err);
    }
    clear_progress();
    mem_free(results);
    return status;
}

/* ---- what is shown ---- */

static weft_status show(const bench_serve *b, weft_error *err) {
    const load_report report = {.targets = b->targets,
                                .n_targets = b->n_targets,
                                .settings = &b->settings,
                                .is_open = b->is_open,
                                .rounds = b->o->rounds,
                                .points = b->points,
                                .n_points = b->n_loads};
    weft_status status = WEFT_OK;
    buf text;
    buf_init(&text, MEM_CLI, REPORT_BYTES_MAX);
    if (b->o->is_json) {
        json_t *root = load_report_json(&report);
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(root);
    } else {
        load_report_table(&report, &text);
        fputs(buf_cstr(&text), stdout);
    }
    if (b->o->svg != NULL) {
        buf_clear(&text);
        load_plot_write(&report, &text);
        status = os_write_file(b->o->svg, buf_cstr(&text), text.len, err);
    }
    buf_deinit(&text);
    return status;
}

/* Failed when nothing was answered at some load: a script should notice. */
static weft_status check_answers(const bench_serve *b, weft_error *err) {
    for (uint32_t at = 0; at < b->n_loads; at++) {
        for (uint32_t side = 0; side < b->n_targets; side++) {
            const load_side *s = &b->points[at].sides[side];
            if (s->n_ok == 0) {
                return weft_fail(err, WEFT_IO, "%s answered none of %llu requests",
                                 b->targets[side].url, (unsigned long long)s->n_asked);
            }
        }
    }
    return WEFT_OK;
}

static int run(const bench_serve_options *o) {
    weft_error err;
    bench_serve *b = mem_zalloc(MEM_CLI, 1, sizeof *b);
    int code = CLI_FAILED;
    if (b == NULL) {
        (void)weft_fail(&err, WEFT_NOMEM, "out of memory for the results");
        return cli_fail(&err);
    }
    b->o = o;
    if (set_up(b, &err) != WEFT_OK) {
        code = cli_usage(&err);
    } else if (run_all(b, &err) != WEFT_OK || show(b, &err) != WEFT_OK ||
               check_answers(b, &err) != WEFT_OK) {
        code = cli_fail(&err);
    } else {
        code = CLI_DONE;
    }
    json_decref(b->extra);
    mem_free(b->models[0]);
    mem_free(b->models[1]);
    mem_free(b);
    return code;
}

int cmd_bench_serve(int argc, char **argv) {
    bench_serve_options o = {.key = getenv("OPENAI_API_KEY"),
                             .prompt = "128",
                             .answer = "128",
                             .users = {.values = {1, 4, 16}, .count = 3},
                             .warmup = 1,
                             .turns = 1,
                             .groups = 1,
                             .shared_share = 1,
                             .retries = 100,
                             .timeout_s = 600,
                             .in_flight_max = 1024,
                             .seed = 1};
    const args_option options[] = {
        {"--url", 'u', ARGS_STRING, &o.url, 0, 0, "U", "the server, such as http://127.0.0.1:8080"},
        {"--compare", 0, ARGS_STRING, &o.compare, 0, 0, "U", "a second one, run in turns with it"},
        {"--concurrency", 'c', ARGS_LIST, &o.users, 1, LOAD_USERS_MAX, "LIST",
         "closed loop: users at once (1,4,16)"},
        {"--rate", 'r', ARGS_STRING, &o.rates, 0, 0, "LIST",
         "open loop instead: conversations a second, by a Poisson process"},
        {"--requests", 'n', ARGS_U32, &o.requests, 1, 1e9, "N",
         "requests of each round (4 a user and turn, at least 16)"},
        {"--duration", 'd', ARGS_U32, &o.duration_s, 1, 1e6, "S",
         "ask for so many seconds (until --requests, when both are given)"},
        {"--prompt", 0, ARGS_STRING, &o.prompt, 0, 0, "TOKENS",
         "N, MIN-MAX or lognormal:MEDIAN,SIGMA[,MOST]; about one word each (128)"},
        {"--gen", 0, ARGS_STRING, &o.answer, 0, 0, "TOKENS", "of an answer; likewise (128)"},
        {"--shared-prefix", 0, ARGS_U32, &o.shared, 1, LOAD_TOKENS_MAX, "N",
         "tokens at the beginning of prompts that are the same (0)"},
        {"--shared-share", 0, ARGS_FLOAT, &o.shared_share, 0, 1, "X",
         "share of conversations that begin so (1)"},
        {"--shared-groups", 0, ARGS_U32, &o.groups, 1, 1e6, "N", "different beginnings (1)"},
        {"--multi-turn", 0, ARGS_U32, &o.turns, 1, 1000, "N", "requests of a conversation (1)"},
        {"--slo", 0, ARGS_STRING, &o.slo, 0, 0, "LIMITS",
         "goodput: ttft=500ms,itl=50ms,e2e=20s, any of them"},
        {"--rounds", 0, ARGS_U32, &o.rounds, 1, LOAD_ROUNDS_MAX, "N",
         "medians over so many rounds (1; 3 with --compare)"},
        {"--warmup", 0, ARGS_U32, &o.warmup, 0, 1024, "N", "requests before, not counted (1)"},
        {"--pause", 0, ARGS_U32, &o.pause_s, 0, 3600, "S", "seconds of rest before each turn (0)"},
        {"--completions", 0, ARGS_FLAG, &o.is_text, 0, 0, NULL, "/v1/completions, not chats"},
        {"--no-stream", 0, ARGS_FLAG, &o.is_whole, 0, 0, NULL,
         "answers in one piece; no first token then"},
        {"--stop-at-eos", 0, ARGS_FLAG, &o.stops_at_eos, 0, 0, NULL,
         "leave ignore_eos out: answers may be shorter, servers that do not know it are content"},
        {"--temp", 0, ARGS_FLOAT, &o.temperature, 0, 100, "X", "temperature (0)"},
        {"--extra", 0, ARGS_STRING, &o.extra, 0, 0, "JSON", "further fields of every request"},
        {"--model", 'm', ARGS_STRING, &o.model, 0, 0, "NAME", "model (the first that is listed)"},
        {"--api-key", 0, ARGS_STRING, &o.key, 0, 0, "KEY", "key (OPENAI_API_KEY)"},
        {"--retries", 0, ARGS_U32, &o.retries, 0, 1e6, "N", "of a request refused with 429 (100)"},
        {"--timeout", 0, ARGS_U32, &o.timeout_s, 1, 1e6, "S", "of one request (600)"},
        {"--in-flight", 0, ARGS_U32, &o.in_flight_max, 1, LOAD_USERS_MAX, "N",
         "open loop: most at once; later arrivals wait (1024)"},
        {"--seed", 's', ARGS_U64, &o.seed, 0, 0, "N", "of lengths, texts and arrivals (1)"},
        {"--json", 0, ARGS_FLAG, &o.is_json, 0, 0, NULL, "one JSON document on stdout"},
        {"--svg", 0, ARGS_STRING, &o.svg, 0, 0, "FILE", "draw throughput and first tokens"},
    };
    const args_command command = {
        .name = "bench-serve",
        .synopsis = "--url U",
        .summary = "Load on an OpenAI-compatible server: throughput, time to first token (ttft), "
                   "time between\ntokens (itl) and to the end (e2e) in ms, goodput, errors.",
        .example =
            "  weft bench-serve --url http://127.0.0.1:8080 -c 1,4,16,64 --prompt 75-128 --gen 64\n"
            "  weft bench-serve --url http://127.0.0.1:8080 --rate 0.5,1,2 -d 60 --slo ttft=500ms\n"
            "  weft bench-serve --url http://a:8080 --compare http://b:8080 --rounds 5 --svg a.svg",
        .options = options,
        .n_options = WEFT_LEN(options),
    };
    args_result args;
    weft_error err;
    int exit_code = CLI_DONE;
    if (!cli_begin(&command, argc, argv, &args, &exit_code)) {
        return exit_code;
    }
    if (o.url == NULL) {
        (void)weft_fail(&err, WEFT_INVALID, "option --url is missing: which server?");
        return cli_usage(&err);
    }
    if (o.rounds == 0) {
        o.rounds = o.compare != NULL ? ROUNDS_COMPARED : 1;
    }
    return run(&o);
}
