/* session.c - conversation to prompt, prompt to request, request to the terminal.
 *
 * The conversation is a JSON array in OpenAI's shape, the same that the server gets, so that both
 * take the same road into the model's template. SIGINT only sets a flag: the loop that waits for
 * events sees it and cancels the request.
 */
#include "cli/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "plan/plan.h"

#define POLL_MS 50
#define ANSWER_BYTES_MAX (64u << 20)

static volatile sig_atomic_t interrupt_flag;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupt_flag = 1;
}

void session_catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool session_interrupted(void) {
    const bool was_set = interrupt_flag != 0;
    interrupt_flag = 0;
    return was_set;
}

weft_status session_open(session *s, const char *path, const cli_model_options *o,
                         weft_error *err) {
    weft_runtime_options runtime;
    weft_engine_options engine = weft_engine_options_default();
    cli_progress progress;
    weft_status status = cli_runtime_options(o, &runtime, err);
    if (status == WEFT_OK) {
        status = cli_kv_type(o->kv_type, &engine.kv_type, err);
    }
    if (status == WEFT_OK) {
        status = cli_weights_form(o->weights, &engine.maps_weights, err);
    }
    if (status == WEFT_OK) {
        status =
            cli_pack_cache(o->pack_cache, &engine.pack_cache_dir, &engine.pack_cache_bytes, err);
    }
    if (status == WEFT_OK) {
        status = weft_runtime_create(&s->rt, &runtime, err);
    }
    if (status == WEFT_OK) {
        engine.ctx = o->ctx;
        engine.progress = cli_progress_step;
        engine.progress_user = &progress;
        cli_progress_init(&progress, "loading");
        status = weft_engine_open(&s->en, s->rt, path, &engine, err);
        cli_progress_end(&progress);
    }
    if (status == WEFT_OK) {
        s->is_verbose = o->is_verbose;
        s->messages = json_array();
        if (s->messages == NULL) {
            status = weft_fail(err, WEFT_NOMEM, "out of memory for a conversation");
        }
    }
    return status;
}

void session_close(session *s) {
    json_decref(s->messages);
    weft_engine_close(&s->en);
    weft_runtime_destroy(&s->rt);
}

weft_status session_say(session *s, const char *role, const char *content, weft_error *err) {
    json_t *message = json_pack("{s:s, s:s}", "role", role, "content", content);
    if (message == NULL || json_array_append_new(s->messages, message) != 0) {
        return weft_fail(err, WEFT_INVALID, "the %s message is not valid UTF-8", role);
    }
    return WEFT_OK;
}

static void print_memory_row(const char *name, uint64_t planned, uint64_t actual) {
    char a[32], b[32];
    plan_format_bytes(planned, a, sizeof a);
    plan_format_bytes(actual, b, sizeof b);
    fprintf(stderr, "  %-12s %12s %12s\n", name, a, b);
}

void session_print_memory(const session *s) {
    const weft_engine_info i = weft_engine_info_now(s->en);
    fprintf(stderr, "memory            planned       actual\n");
    print_memory_row("weights", i.planned.weights_bytes, i.actual.weights_bytes);
    print_memory_row("packing", i.planned.packed_extra_bytes, i.actual.packed_extra_bytes);
    print_memory_row("kv cache", i.planned.kv_pool_bytes, i.actual.kv_pool_bytes);
    print_memory_row("scratch", i.planned.scratch_bytes, i.actual.scratch_bytes);
    print_memory_row("process", i.planned.process_bytes, i.actual.process_bytes);
    print_memory_row("total", i.planned.total_bytes, i.actual.total_bytes);
    if (i.planned.mapped_bytes > 0) {
        print_memory_row("in the file", i.planned.mapped_bytes, i.actual.mapped_bytes);
    }
    fprintf(stderr, "  (actual total is what is resident now; cache pages count once touched)\n");
}

static void print_speed(const session *s, const weft_usage *u, uint64_t first_ns) {
    fprintf(stderr, "prompt    %6u tokens  %8.1f tok/s\n", u->prompt_tokens,
            u->prefill_ns > 0 ? u->prompt_tokens / clock_seconds(u->prefill_ns) : 0.0);
    fprintf(stderr, "answer    %6u tokens  %8.1f tok/s\n", u->completion_tokens,
            u->decode_ns > 0 ? (u->completion_tokens - 1) / clock_seconds(u->decode_ns) : 0.0);
    fprintf(stderr, "first token after %.3f s, of the process %.3f s; seed %llu\n",
            clock_seconds(u->queued_ns + u->prefill_ns), clock_seconds(first_ns - s->start_ns),
            (unsigned long long)u->seed);
}

/* Streams a request to stdout and into answer (which may be NULL). */
static weft_status stream(session *s, weft_request *rq, buf *answer, weft_error *err) {
    uint64_t first_ns = 0;
    weft_event ev = {0};
    bool is_broken = false;
    int broken_errno = 0;
    while (!ev.is_done) {
        const weft_status status = weft_request_wait(rq, &ev, POLL_MS);
        if (session_interrupted()) {
            weft_request_cancel(rq);
        }
        if (status != WEFT_OK) {
            ev = (weft_event){0};
            continue;
        }
        first_ns = first_ns == 0 ? clock_now_ns() : first_ns;
        fwrite(ev.text, 1, ev.text_len, stdout);
        if ((fflush(stdout) != 0 || ferror(stdout)) && !is_broken) {
            is_broken = true; /* nobody reads any more */
            broken_errno = errno;
            weft_request_cancel(rq);
        }
        if (answer != NULL) {
            buf_append(answer, ev.text, ev.text_len);
        }
    }
    if (is_broken) {
        return weft_fail(err, WEFT_IO, "standard output: %s", strerror(broken_errno));
    }
    printf("\n");
    fflush(stdout);
    if (ev.finish == WEFT_FINISH_ERROR) {
        return weft_fail(err, WEFT_DEVICE, "%s", weft_request_error(rq));
    }
    if (s->is_verbose) {
        const weft_usage u = weft_request_usage(rq);
        print_speed(s, &u, first_ns);
        session_print_memory(s);
    }
    return WEFT_OK;
}

static weft_status answer_prompt(session *s, const char *text, size_t len, uint32_t flags,
                                 buf *answer, weft_error *err) {
    weft_tokens prompt = {0};
    weft_request *rq = NULL;
    weft_status status = weft_tokenize(s->en, text, len, flags, &prompt, err);
    if (status == WEFT_OK) {
        weft_request_options o = s->sampling;
        o.prompt = prompt.ids;
        o.n_prompt = prompt.count;
        status = weft_request_submit(&rq, s->en, &o, err);
    }
    if (status == WEFT_OK) {
        status = stream(s, rq, answer, err);
    }
    weft_request_release(&rq);
    weft_tokens_deinit(&prompt);
    return status;
}

weft_status session_complete(session *s, const char *text, weft_error *err) {
    return answer_prompt(s, text, strlen(text), WEFT_TOKENIZE_SPECIAL | WEFT_TOKENIZE_PARSE, NULL,
                         err);
}

/* The conversation as the model's template writes it. */
static weft_status apply_template(const session *s, char **prompt, size_t *len, weft_error *err) {
    json_t *request = json_pack("{s:O}", "messages", s->messages);
    const size_t request_len = request != NULL ? json_dumpb(request, NULL, 0, JSON_COMPACT) : 0;
    char *text = request_len > 0 ? mem_alloc(MEM_CLI, request_len) : NULL;
    weft_status status = WEFT_OK;
    if (text == NULL) {
        status = weft_fail(err, WEFT_NOMEM, "out of memory for a conversation");
    } else {
        json_dumpb(request, text, request_len, JSON_COMPACT);
        status = weft_chat_apply(s->en, text, request_len, prompt, len, err);
    }
    mem_free(text);
    json_decref(request);
    return status;
}

weft_status session_answer(session *s, weft_error *err) {
    char *prompt = NULL;
    size_t len = 0;
    buf answer;
    buf_init(&answer, MEM_CLI, ANSWER_BYTES_MAX);
    weft_status status = apply_template(s, &prompt, &len, err);
    if (status == WEFT_OK) {
        status = answer_prompt(s, prompt, len, WEFT_TOKENIZE_PARSE, &answer, err);
    }
    if (status == WEFT_OK) {
        status = session_say(s, "assistant", buf_cstr(&answer), err);
    }
    weft_free(prompt);
    buf_deinit(&answer);
    return status;
}
