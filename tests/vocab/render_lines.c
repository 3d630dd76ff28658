/* render_lines.c - many renders in one process, to compare and to time.
 *
 *   render_lines TEMPLATE.jinja < LINES         each line an object of template variables
 *   render_lines --chat TEMPLATE.jinja < LINES  each line a chat request
 *   render_lines --sources VARIABLES.json       each line a template, as a JSON string
 *   ... --times N                               renders each line N times and prints the median
 *
 * Without --times the answer to a line is a line: "=" or "!" (refused), the number of bytes that
 * follow, a newline, and those bytes: the text, or the message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/jinja.h"
#include "text/json_reader.h"
#include "vocab/chat.h"

#define LINE_BYTES_MAX (64u << 20)
#define TIMES_MAX 100000

typedef struct job {
    jinja *template; /* one of the three */
    chat *chat;
    char *variables; /* of every source */
    size_t variables_len;
    uint32_t times; /* 0: write the text */
    double *samples_us;
} job;

static weft_status render_source(const job *j, str line, const jinja_options *options, buf *out,
                                 weft_error *err) {
    jinja *template = NULL;
    json_reader r;
    arena memory;
    arena_init(&memory, MEM_TEST, LINE_BYTES_MAX);
    json_reader_init(&r, line, &memory);
    weft_status status = WEFT_OK;
    if (json_reader_next(&r) != JSON_EVENT_STRING) {
        status = json_reader_fail(&r, err, WEFT_INVALID, "a line must be a string");
    }
    if (status == WEFT_OK) {
        status = jinja_compile(&template, r.text, "template", err);
    }
    if (status == WEFT_OK) {
        status =
            jinja_render(template, str_from(j->variables, j->variables_len), options, out, err);
    }
    jinja_destroy(&template);
    arena_deinit(&memory);
    return status;
}

static weft_status render(const job *j, str line, buf *out, weft_error *err) {
    const jinja_options options = {.now_unix_s = 1700000000};
    buf_clear(out);
    if (j->variables != NULL) {
        return render_source(j, line, &options, out, err);
    }
    return j->chat != NULL ? chat_apply(j->chat, line, out, err)
                           : jinja_render(j->template, line, &options, out, err);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static weft_status time_line(const job *j, str line, buf *out, weft_error *err) {
    for (uint32_t i = 0; i < j->times; i++) {
        const double begin = now_us();
        const weft_status status = render(j, line, out, err);
        if (status != WEFT_OK) {
            return status;
        }
        j->samples_us[i] = now_us() - begin;
    }
    qsort(j->samples_us, j->times, sizeof(double), by_value);
    printf("%zu bytes to %zu: median %.1f us, least %.1f us\n", line.len, out->len,
           j->samples_us[j->times / 2], j->samples_us[0]);
    return WEFT_OK;
}

static void answer_line(const job *j, str line, buf *out) {
    weft_error err;
    if (render(j, line, out, &err) == WEFT_OK) {
        printf("=%zu\n", out->len);
        fwrite(buf_cstr(out), 1, out->len, stdout);
    } else {
        printf("!%zu\n%s", strlen(err.message), err.message);
    }
}

static weft_status run(const job *j, weft_error *err) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    weft_status status = WEFT_OK;
    buf out;
    buf_init(&out, MEM_TEST, JINJA_OUTPUT_BYTES_MAX);
    while (status == WEFT_OK && (len = getline(&line, &capacity, stdin)) > 0) {
        const str text = str_trim(str_from(line, (size_t)len));
        if (j->times > 0) {
            status = time_line(j, text, &out, err);
        } else {
            answer_line(j, text, &out);
        }
    }
    free(line);
    buf_deinit(&out);
    return status;
}

typedef enum mode { MODE_VARIABLES, MODE_CHAT, MODE_SOURCES } mode;

static weft_status open_file(job *j, const char *path, mode m, weft_error *err) {
    char *source = NULL;
    size_t len = 0;
    if (m == MODE_SOURCES) {
        return os_read_file(&j->variables, &j->variables_len, path, LINE_BYTES_MAX, err);
    }
    weft_status status = os_read_file(&source, &len, path, JINJA_SOURCE_BYTES_MAX, err);
    if (status == WEFT_OK && m == MODE_CHAT) {
        status = chat_create(&j->chat, str_from(source, len), STR_LIT("<s>"), STR_LIT("</s>"), err);
    } else if (status == WEFT_OK) {
        status = jinja_compile(&j->template, str_from(source, len), path, err);
    }
    mem_free(source);
    return status;
}

int main(int argc, char **argv) {
    job j = {0};
    mode m = MODE_VARIABLES;
    const char *path = NULL;
    weft_error err = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--chat") == 0) {
            m = MODE_CHAT;
        } else if (strcmp(argv[i], "--sources") == 0) {
            m = MODE_SOURCES;
        } else if (strcmp(argv[i], "--times") == 0 && i + 1 < argc) {
            j.times = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else {
            path = argv[i];
        }
    }
    if (path == NULL || j.times > TIMES_MAX) {
        fprintf(stderr, "usage: render_lines [--chat | --sources] [--times N] FILE < LINES\n");
        return 2;
    }
    weft_status status = open_file(&j, path, m, &err);
    j.samples_us = mem_alloc(MEM_TEST, (j.times + 1) * sizeof(double));
    if (status == WEFT_OK) {
        status = run(&j, &err);
    }
    if (status != WEFT_OK) {
        fprintf(stderr, "render_lines: %s\n", err.message);
    }
    mem_free(j.samples_us);
    mem_free(j.variables);
    jinja_destroy(&j.template);
    chat_destroy(&j.chat);
    return status == WEFT_OK ? 0 : 1;
}
