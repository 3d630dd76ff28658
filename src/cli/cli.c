/* cli.c - what the commands share: errors, options of a model, progress, standard input.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"

#define PATH_BYTES_MAX 4096u
#define PACK_CACHE_BYTES_DEFAULT ((uint64_t)8 << 30)
#define QUIET_NS 500000000u /* work shorter than this shows no progress */
#define STEP_NS 100000000u
#define PLAIN_STEP_NS 2000000000u

int cli_fail(const weft_error *err) {
    fprintf(stderr, "weft: %s\n", err->message);
    return CLI_FAILED;
}

int cli_usage(const weft_error *err) {
    fprintf(stderr, "weft: %s\n", err->message);
    return CLI_USAGE;
}

bool cli_begin(const args_command *c, int argc, char **argv, args_result *args, int *exit_code) {
    weft_error err;
    if (args_parse(c, argc, argv, args, &err) != WEFT_OK) {
        *exit_code = cli_usage(&err);
        return false;
    }
    if (args->wants_help) {
        args_print_help(c);
        *exit_code = CLI_DONE;
        return false;
    }
    return true;
}

weft_status cli_runtime_options(const cli_model_options *o, weft_runtime_options *out,
                                weft_error *err) {
    *out = weft_runtime_options_default();
    out->n_threads = o->threads;
    out->mem_bytes = o->mem_bytes;
    out->is_unpinned = o->is_unpinned;
    if (o->cpu_mask != NULL && !cpu_mask_parse(str_from_cstr(o->cpu_mask), &out->cpu_mask)) {
        return weft_fail(err, WEFT_INVALID,
                         "option --cpu-mask is '%s', wanted names such as avx2,avx512 or none",
                         o->cpu_mask);
    }
    return cli_act_type(o->act_type, &out->act_type, err);
}

weft_status cli_act_type(const char *text, weft_dtype *out, weft_error *err) {
    *out = text != NULL ? weft_dtype_from_name(text) : WEFT_DTYPE_F32;
    if (*out != WEFT_DTYPE_F32 && *out != WEFT_DTYPE_BF16) {
        return weft_fail(err, WEFT_INVALID, "option --act-type is '%s', wanted f32 or bf16", text);
    }
    return WEFT_OK;
}

weft_status cli_kv_type(const char *text, weft_dtype *out, weft_error *err) {
    const weft_dtype dtype = weft_dtype_from_name(text);
    if (dtype != WEFT_DTYPE_F16 && dtype != WEFT_DTYPE_F32 && dtype != WEFT_DTYPE_Q8_0 &&
        dtype != WEFT_DTYPE_Q4_0) {
        return weft_fail(err, WEFT_INVALID,
                         "option --kv-type is '%s', wanted f16, f32, q8_0 or q4_0", text);
    }
    *out = dtype;
    return WEFT_OK;
}

weft_status cli_pack_cache(const char *text, const char **dir, uint64_t *bytes, weft_error *err) {
    static char path[PATH_BYTES_MAX];
    *bytes = PACK_CACHE_BYTES_DEFAULT;
    *dir = NULL;
    if (text != NULL && strcmp(text, "off") == 0) {
        *bytes = 0;
        return WEFT_OK;
    }
    if (text != NULL && !str_parse_bytes(str_from_cstr(text), bytes)) {
        return weft_fail(err, WEFT_INVALID,
                         "option --pack-cache is '%s', wanted a size such as 8G, or off", text);
    }
    const char *base = getenv("XDG_CACHE_HOME");
    const char *below = "/weft/packed";
    if (base == NULL || base[0] != '/') { /* the XDG rules: a relative path is to be ignored */
        base = getenv("HOME");
        below = "/.cache/weft/packed";
    }
    const int n = base != NULL ? snprintf(path, sizeof path, "%s%s", base, below) : -1;
    *dir = n > 0 && (size_t)n < sizeof path ? path : NULL;
    return WEFT_OK;
}

weft_status cli_weights_form(const char *text, bool *maps_weights, weft_error *err) {
    *maps_weights = text != NULL && strcmp(text, "mapped") == 0;
    if (text == NULL || *maps_weights || strcmp(text, "packed") == 0) {
        return WEFT_OK;
    }
    return weft_fail(err, WEFT_INVALID, "option --weights is '%s', wanted packed or mapped", text);
}

weft_status cli_model_options_check(const cli_model_options *o, weft_error *err) {
    weft_runtime_options runtime;
    weft_dtype kv_type;
    const char *dir = NULL;
    uint64_t bytes = 0;
    bool maps_weights = false;
    weft_status status = cli_runtime_options(o, &runtime, err);
    if (status == WEFT_OK) {
        status = cli_kv_type(o->kv_type, &kv_type, err);
    }
    if (status == WEFT_OK) {
        status = cli_weights_form(o->weights, &maps_weights, err);
    }
    return status == WEFT_OK ? cli_pack_cache(o->pack_cache, &dir, &bytes, err) : status;
}

void cli_progress_init(cli_progress *p, const char *what) {
    *p = (cli_progress){.what = what, .start_ns = clock_now_ns(), .is_terminal = isatty(2) == 1};
}

bool cli_progress_step(void *progress, uint64_t done_bytes, uint64_t total_bytes) {
    cli_progress *p = progress;
    const uint64_t now = clock_now_ns();
    const uint64_t step = p->is_terminal ? STEP_NS : PLAIN_STEP_NS;
    if (now - p->start_ns < QUIET_NS || now - p->shown_ns < step || total_bytes == 0) {
        return true;
    }
    const unsigned percent = (unsigned)((double)done_bytes * 100.0 / (double)total_bytes);
    if (p->is_terminal) {
        char bar[41];
        for (unsigned i = 0; i < 40; i++) {
            bar[i] = i < percent * 40 / 100 ? '#' : '.';
        }
        bar[40] = 0;
        fprintf(stderr, "\r%s [%s] %3u %%", p->what, bar, percent);
    } else {
        fprintf(stderr, "%s %u %%\n", p->what, percent);
    }
    p->shown_ns = now;
    p->is_shown = true;
    return true;
}

void cli_progress_end(cli_progress *p) {
    if (p->is_shown && p->is_terminal) {
        fprintf(stderr, "\r%*s\r", 79, "");
    }
    p->is_shown = false;
}

weft_status cli_read_stdin(buf *out, weft_error *err) {
    char chunk[65536];
    for (;;) {
        const ssize_t n = read(0, chunk, sizeof chunk);
        if (n == 0) {
            return WEFT_OK;
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return weft_fail(err, WEFT_IO, "standard input: %s", strerror(errno));
        }
        if (!buf_append(out, chunk, (size_t)n)) {
            return weft_fail(err, WEFT_LIMIT, "standard input holds more than %zu bytes",
                             out->max_bytes);
        }
    }
}
