/* load_run.c - users, each idle, waiting for an answer, or waiting to ask again.
 *
 *   idle ─► in flight ─► answered ─► next turn of the conversation, or idle
 *             ▲   │ 429
 *             └───┴─ resting until Retry-After
 *
 * Idle users stand on a stack; whoever begins a conversation takes one. In a closed loop every idle
 * user begins at once while there is something left to ask; in an open loop arrivals do, and an
 * arrival that finds no idle user waits for one and is counted as late.
 */
#include "cli/load_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/load_answer.h"
#include "cli/load_client.h"

#define TURN_MS 100
#define REST_S_DEFAULT 1.0 /* of a refusal without Retry-After */
#define REST_S_MAX 60.0
#define BODY_BYTES_MAX (64u << 20)

typedef struct run run;

typedef struct user {
    run *r;
    uint64_t conversation;
    uint32_t turn, n_retries;
    load_turn plan;
    json_t *messages; /* of a chat */
    buf history;      /* of plain completions */
    buf body;
    load_answer answer;
    uint64_t asked_ns;
    uint64_t rest_end_ns; /* 0: not resting */
} user;

struct run {
    const load_target *target;
    const load_settings *s;
    load_result *out;
    load_client *client;
    char url[1024];
    user *users; /* [n_users] */
    uint32_t n_users;
    uint32_t *idle; /* [n_idle] */
    uint32_t n_idle, n_resting, n_in_flight;
    uint64_t start_ns, last_ns;
    uint64_t n_begun; /* conversations */
    uint64_t random;
    double arrival_s; /* of the next conversation of an open loop */
    bool was_late;    /* it has been counted as late */
    weft_status status;
    weft_error *err;
};

static void on_data(void *user_arg, int http_status, const char *bytes, size_t len);
static void on_done(void *user_arg, const load_done *done);
static void end_turn(user *u, bool is_ok);

static void make_url(char *out, size_t out_bytes, const char *base, const char *path) {
    str s = str_from_cstr(base);
    while (s.len > 0 && s.data[s.len - 1] == '/') {
        s.len--;
    }
    s.len -= str_ends_with(s, STR_LIT("/v1")) ? 3 : 0;
    snprintf(out, out_bytes, STR_FMT "/v1/%s", STR_ARG(s), path);
}

/* ---- asking ---- */

/* The words of a turn join the conversation. */
static void add_words(user *u) {
    const load_settings *s = u->r->s;
    buf words;
    buf_init(&words, MEM_CLI, BODY_BYTES_MAX);
    load_plan_words(&words, &s->plan, &u->plan);
    if (s->is_chat) {
        json_array_append_new(u->messages, json_pack("{s:s, s:s#}", "role", "user", "content",
                                                     buf_cstr(&words), (int)words.len));
    } else {
        if (u->history.len > 0) {
            buf_append_char(&u->history, ' ');
        }
        buf_append_str(&u->history, buf_view(&words));
    }
    buf_deinit(&words);
}

static int append_json(const char *data, size_t len, void *out) {
    return buf_append(out, data, len) ? 0 : -1;
}

static bool write_body(user *u) {
    const load_settings *s = u->r->s;
    json_t *root = json_pack("{s:s*, s:I, s:f, s:b}", "model", u->r->target->model, "max_tokens",
                             (json_int_t)u->plan.answer_tokens, "temperature", s->temperature,
                             "stream", (int)s->is_streamed);
    if (s->is_chat) {
        json_object_set(root, "messages", u->messages);
    } else {
        json_object_set_new(root, "prompt", json_stringn(buf_cstr(&u->history), u->history.len));
    }
    if (s->is_streamed) {
        json_object_set_new(root, "stream_options", json_pack("{s:b}", "include_usage", 1));
    }
    if (s->ignores_eos) {
        json_object_set_new(root, "ignore_eos", json_true());
    }
    if (s->extra != NULL) {
        json_object_update(root, (json_t *)(uintptr_t)s->extra);
    }
    buf_clear(&u->body);
    const bool is_fine =
        root != NULL && json_dump_callback(root, append_json, &u->body, JSON_COMPACT) == 0;
    json_decref(root);
    return is_fine;
}

static void post(user *u) {
    run *r = u->r;
    const load_post p = {.url = r->url,
                         .body = buf_view(&u->body),
                         .on_data = on_data,
                         .on_done = on_done,
                         .user = u};
    load_answer_begin(&u->answer, r->s->is_streamed, u->asked_ns, &r->out->itl);
    const weft_status status = load_client_post(r->client, &p, r->err);
    if (status != WEFT_OK) {
        r->status = status;
        return;
    }
    r->n_in_flight++;
    if (r->n_in_flight > r->out->in_flight_most) {
        r->out->in_flight_most = r->n_in_flight;
    }
}

static void ask(user *u) {
    run *r = u->r;
    u->plan = load_plan_turn(&r->s->plan, u->conversation, u->turn);
    u->n_retries = 0;
    add_words(u);
    if (!write_body(u)) {
        r->status = weft_fail(r->err, WEFT_NOMEM, "out of memory for a request body");
        return;
    }
    r->out->n_asked++;
    u->asked_ns = clock_now_ns();
    post(u);
}

static void begin_conversation(run *r) {
    user *u = &r->users[r->idle[--r->n_idle]];
    u->conversation = r->s->first_conversation + r->n_begun++;
    u->turn = 0;
    json_array_clear(u->messages);
    buf_clear(&u->history);
    ask(u);
}

/* ---- answers ---- */

static void on_data(void *user_arg, int http_status, const char *bytes, size_t len) {
    user *u = user_arg;
    if (http_status == 200) {
        load_answer_push(&u->answer, bytes, len, clock_now_ns());
    } else {
        buf_append(&u->answer.body, bytes, len);
    }
}

static void count_error(run *r, load_error kind, const char *text) {
    if (r->out->errors[kind]++ == 0) {
        snprintf(r->out->error_texts[kind], sizeof r->out->error_texts[kind], "%s", text);
    }
}

static void fail_user(user *u, load_error kind, int http_status, const char *text) {
    char message[200], words[160];
    if (text == NULL) {
        load_answer_error(&u->answer, words, sizeof words);
        snprintf(message, sizeof message, "HTTP %d: %s", http_status, words);
        text = message;
    }
    count_error(u->r, kind, text);
    end_turn(u, false);
}

static bool is_refusal(const load_done *d) {
    return d->http_status == 429 || (d->http_status == 503 && d->retry_after_s > 0);
}

static void rest(user *u, double seconds) {
    const double s = seconds <= 0 ? REST_S_DEFAULT : seconds > REST_S_MAX ? REST_S_MAX : seconds;
    u->n_retries++;
    u->rest_end_ns = clock_now_ns() + (uint64_t)(s * 1e9);
    u->r->n_resting++;
}

static void on_done(void *user_arg, const load_done *d) {
    user *u = user_arg;
    run *r = u->r;
    const uint64_t now = clock_now_ns();
    r->n_in_flight--;
    r->last_ns = now;
    if (d->http_status == 429) {
        r->out->n_refusals++;
    }
    if (d->error != NULL) {
        fail_user(u, d->is_timeout ? LOAD_TIMEOUT : LOAD_CONNECTION, 0, d->error);
    } else if (is_refusal(d) && u->n_retries < r->s->retries_max) {
        rest(u, d->retry_after_s);
    } else if (is_refusal(d)) {
        fail_user(u, LOAD_REFUSED, d->http_status, NULL);
    } else if (d->http_status != 200) {
        fail_user(u, d->http_status / 100 == 4 ? LOAD_REJECTED : LOAD_SERVER, d->http_status, NULL);
    } else if (!load_answer_finish(&u->answer, now)) {
        fail_user(u, LOAD_BROKEN, 0, u->answer.broken);
    } else {
        end_turn(u, true);
    }
}

static double ms_between(uint64_t from_ns, uint64_t to_ns) {
    return (double)(to_ns - from_ns) * 1e-6;
}

/* A good answer keeps every limit: its first token, the mean gap between tokens, its end. */
static bool is_good(const load_settings *s, double ttft_ms, double tpot_ms, double e2e_ms) {
    return (s->slo_ttft_ms == 0 || ttft_ms <= s->slo_ttft_ms) &&
           (s->slo_itl_ms == 0 || tpot_ms <= s->slo_itl_ms) &&
           (s->slo_e2e_ms == 0 || e2e_ms <= s->slo_e2e_ms);
}

static void count_answer(run *r, const load_answer *a) {
    load_result *out = r->out;
    const double e2e_ms = ms_between(a->start_ns, a->now_ns);
    const double ttft_ms = a->n_pieces > 0 ? ms_between(a->start_ns, a->first_ns) : e2e_ms;
    const double decode_ms = a->n_pieces > 0 ? ms_between(a->first_ns, a->last_ns) : 0;
    const double tpot_ms = a->output_tokens > 1 ? decode_ms / (a->output_tokens - 1) : 0;
    out->n_ok++;
    out->n_counted += a->has_usage;
    out->prompt_tokens += a->prompt_tokens;
    out->cached_tokens += a->cached_tokens;
    out->output_tokens += a->output_tokens;
    load_hist_add(&out->e2e, e2e_ms);
    if (a->is_streamed) {
        load_hist_add(&out->ttft, ttft_ms);
        if (a->output_tokens > 1) {
            load_hist_add(&out->tpot, tpot_ms);
        }
    }
    out->n_good += is_good(r->s, ttft_ms, tpot_ms, e2e_ms);
}

static void keep_text(run *r, user *u) {
    load_result *out = r->out;
    const size_t at =
        (size_t)(u->conversation - r->s->first_conversation) * r->s->plan.turns + u->turn;
    if (at >= out->n_texts) {
        const size_t wanted = at < 1024 ? 1024 : at * 2;
        char **longer = mem_realloc(MEM_CLI, out->texts, wanted, sizeof *longer);
        if (longer == NULL) {
            r->status = weft_fail(r->err, WEFT_NOMEM, "out of memory for %zu answers", wanted);
            return;
        }
        memset(longer + out->n_texts, 0, (wanted - out->n_texts) * sizeof *longer);
        out->texts = longer;
        out->n_texts = wanted;
    }
    mem_free(out->texts[at]);
    out->texts[at] = mem_strndup(MEM_CLI, buf_cstr(&u->answer.text), u->answer.text.len);
}

static void add_answer(user *u) {
    const buf *text = &u->answer.text;
    if (u->r->s->is_chat) {
        json_array_append_new(u->messages, json_pack("{s:s, s:s#}", "role", "assistant", "content",
                                                     buf_cstr(text), (int)text->len));
    } else {
        buf_append_str(&u->history, buf_view(text));
    }
}

static bool may_ask(const run *r) {
    const load_settings *s = r->s;
    return (s->requests == 0 || r->out->n_asked < s->requests) &&
           (s->duration_s == 0 || clock_seconds(clock_now_ns() - r->start_ns) < s->duration_s);
}

/* The conversation goes on, or its user is idle. */
static void end_turn(user *u, bool is_ok) {
    run *r = u->r;
    if (is_ok) {
        count_answer(r, &u->answer);
    }
    if (is_ok && r->s->keeps_texts) {
        keep_text(r, u);
    }
    if (is_ok && u->turn + 1 < r->s->plan.turns && may_ask(r)) {
        add_answer(u);
        u->turn++;
        ask(u);
    } else {
        r->idle[r->n_idle++] = (uint32_t)(u - r->users);
    }
}

/* ---- the loop ---- */

static void begin_conversations(run *r) {
    while (r->s->rate == 0 && r->n_idle > 0 && may_ask(r) && r->status == WEFT_OK) {
        begin_conversation(r);
    }
    while (r->s->rate > 0 && may_ask(r) && r->status == WEFT_OK) {
        if (clock_seconds(clock_now_ns() - r->start_ns) < r->arrival_s) {
            return;
        }
        if (r->n_idle == 0) {
            r->out->n_late += !r->was_late;
            r->was_late = true;
            return;
        }
        begin_conversation(r);
        r->arrival_s += load_random_gap(&r->random, r->s->rate);
        r->was_late = false;
    }
}

static void end_rests(run *r, uint64_t now_ns) {
    for (uint32_t i = 0; i < r->n_users && r->n_resting > 0; i++) {
        user *u = &r->users[i];
        if (u->rest_end_ns != 0 && u->rest_end_ns <= now_ns) {
            u->rest_end_ns = 0;
            r->n_resting--;
            post(u);
        }
    }
}

/* Not beyond the next arrival. Rests end within TURN_MS of their time. */
static int turn_ms(const run *r) {
    if (r->s->rate == 0 || r->n_idle == 0) {
        return TURN_MS;
    }
    const double s = r->arrival_s - clock_seconds(clock_now_ns() - r->start_ns);
    return s <= 0 ? 0 : s * 1000 >= TURN_MS ? TURN_MS : (int)ceil(s * 1000);
}

static void loop(run *r, load_progress_fn *progress, void *user_arg) {
    uint64_t told_ns = r->start_ns;
    for (;;) {
        begin_conversations(r);
        end_rests(r, clock_now_ns());
        const bool is_idle = r->n_in_flight == 0 && r->n_resting == 0;
        if (r->status != WEFT_OK || (is_idle && !may_ask(r))) {
            return;
        }
        r->status = load_client_turn(r->client, turn_ms(r), r->err);
        const uint64_t now = clock_now_ns();
        if (progress != NULL && now - told_ns >= TURN_MS * UINT64_C(1000000)) {
            told_ns = now;
            progress(user_arg, r->out, clock_seconds(now - r->start_ns), r->n_in_flight);
        }
    }
}

/* ---- setting up ---- */

static bool set_up_users(run *r, uint32_t n) {
    r->users = mem_zalloc(MEM_CLI, n, sizeof *r->users);
    r->idle = mem_array(MEM_CLI, n, sizeof *r->idle);
    if (r->users == NULL || r->idle == NULL) {
        return false;
    }
    for (r->n_users = 0; r->n_users < n; r->n_users++) {
        user *u = &r->users[r->n_users];
        u->r = r;
        u->messages = json_array();
        buf_init(&u->history, MEM_CLI, BODY_BYTES_MAX);
        buf_init(&u->body, MEM_CLI, BODY_BYTES_MAX);
        load_answer_init(&u->answer);
        r->idle[r->n_idle++] = n - 1 - r->n_users; /* the first user on top */
    }
    return true;
}

static void tear_down(run *r) {
    load_client_destroy(&r->client);
    for (uint32_t i = 0; i < r->n_users; i++) {
        json_decref(r->users[i].messages);
        buf_deinit(&r->users[i].history);
        buf_deinit(&r->users[i].body);
        load_answer_deinit(&r->users[i].answer);
    }
    mem_free(r->users);
    mem_free(r->idle);
}

weft_status load_run(load_result *out, const load_target *t, const load_settings *s,
                     load_progress_fn *progress, void *user_arg, weft_error *err) {
    run r = {.target = t, .s = s, .out = out, .random = s->plan.seed, .err = err};
    WEFT_ASSERT(s->users > 0 && s->users <= LOAD_USERS_MAX);
    WEFT_ASSERT(s->requests > 0 || s->duration_s > 0);
    *out = (load_result){0};
    make_url(r.url, sizeof r.url, t->url, s->is_chat ? "chat/completions" : "completions");
    r.status = load_client_create(&r.client, s->users, t->key, s->timeout_s, err);
    if (r.status == WEFT_OK && !set_up_users(&r, s->users)) {
        r.status = weft_fail(err, WEFT_NOMEM, "out of memory for %u users", s->users);
    }
    if (r.status == WEFT_OK) {
        r.start_ns = clock_now_ns();
        r.arrival_s = s->rate > 0 ? load_random_gap(&r.random, s->rate) : 0;
        loop(&r, progress, user_arg);
        out->seconds = r.last_ns > 0 ? clock_seconds(r.last_ns - r.start_ns) : 0;
    }
    tear_down(&r);
    return r.status;
}

void load_result_deinit(load_result *r) {
    for (size_t i = 0; i < r->n_texts; i++) {
        mem_free(r->texts[i]);
    }
    mem_free(r->texts);
    r->texts = NULL;
    r->n_texts = 0;
}

weft_status load_model_find(char **out, const load_target *t, weft_error *err) {
    char url[1024];
    buf body;
    load_client *client = NULL;
    buf_init(&body, MEM_CLI, 4u << 20);
    make_url(url, sizeof url, t->url, "models");
    weft_status status = load_client_create(&client, 1, t->key, 30, err);
    if (status == WEFT_OK) {
        status = load_client_get(client, url, &body, err);
    }
    if (status == WEFT_OK) {
        json_t *root = json_loadb(buf_cstr(&body), body.len, 0, NULL);
        const char *id = json_string_value(
            json_object_get(json_array_get(json_object_get(root, "data"), 0), "id"));
        *out = id != NULL ? mem_strndup(MEM_CLI, id, strlen(id)) : NULL;
        if (*out == NULL) {
            status = weft_fail(err, WEFT_FORMAT, "%s lists no model: name one with --model", url);
        }
        json_decref(root);
    }
    load_client_destroy(&client);
    buf_deinit(&body);
    return status;
}
