/* cli.h - the commands, and what they share: exit codes, opening a model, printing.
 */
#ifndef WEFT_CLI_CLI_H
#define WEFT_CLI_CLI_H

#include "base/buf.h"
#include "cli/args.h"
#include "weft/weft.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Each takes argv after the command's name and returns the exit code. */
int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_template(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_bench_serve(int argc, char **argv);
int cmd_info(int argc, char **argv);

/* Prints "weft: message" to stderr, one line; returns the exit code that fits. */
int cli_fail(const weft_error *err);
int cli_usage(const weft_error *err);

/* Parses argv for a command. True when the command should go on; otherwise *exit_code is set. */
bool cli_begin(const args_command *c, int argc, char **argv, args_result *args, int *exit_code);

/* Options that every command with a model has. */
typedef struct cli_model_options {
    uint32_t threads;
    const char *cpu_mask; /* text, NULL = all */
    const char *kv_type;  /* text, "f16" */
    const char *act_type; /* text, NULL = f32 */
    uint32_t ctx;
    uint64_t mem_bytes;
    bool is_verbose;
    bool is_unpinned;
    const char *weights;    /* text, NULL = packed */
    const char *pack_cache; /* text, NULL = the default size */
} cli_model_options;

weft_status cli_runtime_options(const cli_model_options *o, weft_runtime_options *out,
                                weft_error *err) WEFT_NODISCARD;
/* All of them at once, before any work: a bad value is wrong usage. */
weft_status cli_model_options_check(const cli_model_options *o, weft_error *err) WEFT_NODISCARD;
/* Where and how much: <XDG_CACHE_HOME or HOME/.cache>/weft/packed. dir is static; 0 bytes = off. */
weft_status cli_pack_cache(const char *text, const char **dir, uint64_t *bytes,
                           weft_error *err) WEFT_NODISCARD;
/* "packed" or "mapped"; NULL is packed. */
weft_status cli_weights_form(const char *text, bool *maps_weights, weft_error *err) WEFT_NODISCARD;
/* "f32" or "bf16"; NULL is f32. */
weft_status cli_act_type(const char *text, weft_dtype *out, weft_error *err) WEFT_NODISCARD;
weft_status cli_kv_type(const char *text, weft_dtype *out, weft_error *err) WEFT_NODISCARD;

/* "loading model.gguf  43 %": a bar on a terminal, plain lines otherwise, nothing when quick. */
typedef struct cli_progress {
    const char *what;
    uint64_t start_ns, shown_ns;
    bool is_terminal, is_shown;
} cli_progress;

void cli_progress_init(cli_progress *p, const char *what);
bool cli_progress_step(void *progress, uint64_t done_bytes, uint64_t total_bytes);
void cli_progress_end(cli_progress *p);

/* All of stdin, bounded by max_bytes. */
weft_status cli_read_stdin(buf *out, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_CLI_CLI_H */
