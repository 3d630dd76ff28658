/* cmd_run.c - answers a prompt and ends, or chats.
 *
 * The prompt is the argument, what comes through a pipe, or both (the argument, then the piped text
 * below it). With neither, on a terminal, it is a chat (chat_loop.c).
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/chat_loop.h"
#include "cli/session.h"

#define PROMPT_BYTES_MAX (64u << 20)

typedef struct run_options {
    cli_model_options model;
    const char *system;
    args_strings stops;
    uint32_t top_k;
    uint64_t seed;
} run_options;

#define SEED_UNSET UINT64_MAX

static weft_status read_prompt(const args_result *args, buf *out, weft_error *err) {
    weft_status status = WEFT_OK;
    if (args->n_positionals > 1) {
        buf_append_cstr(out, args->positionals[1]);
    }
    if (isatty(0) != 1) {
        buf piped;
        buf_init(&piped, MEM_CLI, PROMPT_BYTES_MAX);
        status = cli_read_stdin(&piped, err);
        const str text = str_trim(buf_view(&piped));
        if (text.len > 0 && out->len > 0) {
            buf_append_cstr(out, "\n\n");
        }
        buf_append_str(out, text);
        buf_deinit(&piped);
    }
    if (status == WEFT_OK && out->is_failed) {
        status = weft_fail(err, WEFT_LIMIT, "the prompt has more than %u bytes", PROMPT_BYTES_MAX);
    }
    return status;
}

static weft_status answer_once(session *s, const char *prompt, weft_error *err) {
    const weft_engine_info info = weft_engine_info_now(s->en);
    if (s->is_raw || !info.has_chat_template) {
        return session_complete(s, prompt, err);
    }
    const weft_status status = session_say(s, "user", prompt, err);
    return status == WEFT_OK ? session_answer(s, err) : status;
}

static weft_status run(const args_result *args, session *s, const run_options *o, weft_error *err) {
    buf prompt;
    buf_init(&prompt, MEM_CLI, PROMPT_BYTES_MAX);
    weft_status status = read_prompt(args, &prompt, err);
    const bool is_chat = isatty(0) == 1 && args->n_positionals < 2;
    if (status == WEFT_OK && !is_chat && prompt.len == 0) {
        status = weft_fail(err, WEFT_INVALID,
                           "the prompt is empty: give it as an argument or through a pipe");
    }
    if (status == WEFT_OK) {
        status = session_open(s, args->positionals[0], &o->model, err);
    }
    if (status == WEFT_OK) {
        session_catch_interrupts(); /* while loading, Ctrl-C ends the program */
    }
    if (status == WEFT_OK && o->system != NULL) {
        status = session_say(s, "system", o->system, err);
    }
    if (status == WEFT_OK) {
        status = is_chat ? chat_loop(s, err) : answer_once(s, buf_cstr(&prompt), err);
    }
    buf_deinit(&prompt);
    return status;
}

int cmd_run(int argc, char **argv) {
    run_options o = {.model = {.kv_type = "f16"}, .top_k = 40, .seed = SEED_UNSET};
    session s = {.start_ns = clock_now_ns(), .sampling = weft_request_options_default()};
    weft_request_options *p = &s.sampling;
    p->temperature = 0.7f;
    p->top_p = 0.95f;
    p->min_p = 0.05f;
    const args_option options[] = {
        {"--system", 's', ARGS_STRING, &o.system, 0, 0, "TEXT", "system message"},
        {"--max-tokens", 'n', ARGS_U32, &p->max_tokens, 1, 1e9, "N", "longest answer (context)"},
        {"--temp", 0, ARGS_FLOAT, &p->temperature, 0, 100, "X", "temperature, 0 = greedy (0.7)"},
        {"--top-k", 0, ARGS_U32, &o.top_k, 0, 1e9, "N", "0 = off (40)"},
        {"--top-p", 0, ARGS_FLOAT, &p->top_p, 1e-6, 1, "X", "1 = off (0.95)"},
        {"--min-p", 0, ARGS_FLOAT, &p->min_p, 0, 1, "X", "0 = off (0.05)"},
        {"--repeat-penalty", 0, ARGS_FLOAT, &p->repetition_penalty, 1e-6, 100, "X", "1 = off (1)"},
        {"--presence-penalty", 0, ARGS_FLOAT, &p->presence_penalty, -2, 2, "X", "0 = off (0)"},
        {"--frequency-penalty", 0, ARGS_FLOAT, &p->frequency_penalty, -2, 2, "X", "0 = off (0)"},
        {"--seed", 0, ARGS_U64, &o.seed, 0, 0, "N", "same seed, same answer (random)"},
        {"--stop", 0, ARGS_STRINGS, &o.stops, 0, 0, "TEXT", "end before this text; repeatable"},
        {"--ignore-eos", 0, ARGS_FLAG, &p->ignore_eos, 0, 0, NULL, "end only at --max-tokens"},
        {"--raw", 0, ARGS_FLAG, &s.is_raw, 0, 0, NULL, "no chat template: continue the prompt"},
        {"--ctx", 'c', ARGS_U32, &o.model.ctx, 1, 1e9, "N", "context (the model's, at most 8192)"},
        {"--kv-type", 0, ARGS_STRING, &o.model.kv_type, 0, 0, "T", "f16, f32, q8_0 or q4_0 (f16)"},
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
        {"--verbose", 'v', ARGS_FLAG, &o.model.is_verbose, 0, 0, NULL,
         "speed, time to first token, memory planned and actual"},
    };
    const args_command command = {
        .name = "run",
        .synopsis = "MODEL [PROMPT]",
        .summary = "Answers PROMPT, or what comes through a pipe; on a terminal without PROMPT,\n"
                   "chats (/help there lists what it can do). Ctrl-C stops an answer.",
        .example = "  weft run model.gguf \"Why is the sky blue?\"\n"
                   "  git diff | weft run model.gguf \"Write a commit message:\" --temp 0",
        .options = options,
        .n_options = WEFT_LEN(options),
        .positionals_min = 1,
        .positionals_max = 2,
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
    p->top_k = (int32_t)o.top_k;
    p->has_seed = o.seed != SEED_UNSET;
    p->seed = o.seed;
    p->stop = o.stops.values;
    p->n_stop = o.stops.count;
    const weft_status status = run(&args, &s, &o, &err);
    session_close(&s);
    return status == WEFT_OK ? CLI_DONE : cli_fail(&err);
}
