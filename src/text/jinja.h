/* jinja.h - chat templates: a Jinja interpreter, faithful to jinja2 as transformers sets it up.
 *
 *   source ─► jinja_lex ─► tokens ─► jinja_parse ─► tree ─► jinja_eval ─► text
 *
 * A template is compiled once and rendered many times. Variables come as one JSON object and are
 * turned into jinja values. Set up as transformers does: trim_blocks, lstrip_blocks, loop
 * controls, raise_exception, strftime_now, tojson, `generation` blocks, undefined is lenient.
 *
 * Templates are hostile input: steps, depth, output and memory are bounded (JINJA_LIMITS below),
 * and passing a bound is an error like any other. Errors carry line and column.
 *
 * Threads: a compiled template is read-only and may be rendered by many threads at once.
 */
#ifndef WEFT_TEXT_JINJA_H
#define WEFT_TEXT_JINJA_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

typedef struct jinja jinja;

#define JINJA_SOURCE_BYTES_MAX (1u << 20)
#define JINJA_OUTPUT_BYTES_MAX (64u << 20)
#define JINJA_MEMORY_BYTES_MAX (512u << 20)
#define JINJA_STEPS_MAX (50u * 1000 * 1000)
#define JINJA_DEPTH_MAX 200

/* name is used in messages: "chat template: line 3, column 7: ...". */
weft_status jinja_compile(jinja **out, str source, const char *name,
                          weft_error *err) WEFT_NODISCARD;
void jinja_destroy(jinja **j);

typedef struct jinja_options {
    int64_t now_unix_s; /* what strftime_now formats, as local time */
    /* Tighter bounds than JINJA_STEPS_MAX and JINJA_MEMORY_BYTES_MAX; 0 for those. */
    uint64_t steps_max;
    size_t memory_bytes_max;
} jinja_options;

/* variables_json: an object whose keys are the top-level variables. Appends the text to out; on
 * failure out is as before the call. raise_exception(m) fails with WEFT_INVALID and message m. */
weft_status jinja_render(const jinja *j, str variables_json, const jinja_options *options, buf *out,
                         weft_error *err) WEFT_NODISCARD;

/* True when the template text mentions a top-level variable (for example "tools"). */
bool jinja_mentions(const jinja *j, const char *variable);

#endif /* WEFT_TEXT_JINJA_H */
