/* regex.c - PCRE2 behind a few functions.
 *
 * Patterns come from tokenizer.json files and are written for Oniguruma; regex_pattern.c writes
 * them as PCRE2 has to read them.
 *
 * Matching runs the JIT code on the machine stack first. A pattern that needs more gets a stack of
 * its own, once, kept by the scratch; should that overflow too, the interpreter tries within
 * PCRE2's own limits. Beyond them nobody knows whether there is a match: the scratch remembers the
 * pattern, finds nothing from then on, and its status is an error. Memory comes from the
 * allocation gate.
 */
#include "text/regex.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "text/regex_pattern.h"
#include "text/utf8.h"

#define PATTERN_BYTES_MAX (64u << 10)
#define PATTERN_SHOWN_BYTES 120u
#define JIT_STACK_BYTES_MIN (64u << 10)
#define JIT_STACK_BYTES_MAX (64u << 20)

struct regex {
    pcre2_code *code;
    bool has_jit;
    bool has_start;                  /* perhaps a \G, which is where a search began */
    char shown[PATTERN_SHOWN_BYTES]; /* the beginning of the pattern, for errors */
};

struct regex_scratch {
    pcre2_general_context *general;
    pcre2_match_context *match;
    pcre2_match_data *data;
    pcre2_jit_stack *stack; /* NULL until a match needed it */
    const regex *stopped;   /* ran into a limit; or NULL */
    size_t stopped_bytes;   /* of the text it was looking through */
};

static bool walk_to(regex_walk *w, str text, size_t from, size_t to);
static int match_jit(const regex *r, regex_scratch *scratch, str text, size_t from);
static void *gate_alloc(size_t n, void *unused);
static void gate_free(void *p, void *unused);

weft_status regex_compile(regex **out, str pattern, weft_error *err) {
    if (pattern.len > PATTERN_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "regular expression of %zu bytes: at most %u are taken",
                         pattern.len, PATTERN_BYTES_MAX);
    }
    weft_status status = WEFT_NOMEM;
    pcre2_compile_context *context = NULL;
    buf translated;
    buf_init(&translated, MEM_TEXT, PATTERN_BYTES_MAX * 256);
    regex *r = mem_zalloc(MEM_TEXT, 1, sizeof *r);
    pcre2_general_context *general = pcre2_general_context_create(gate_alloc, gate_free, NULL);
    if (general != NULL) {
        context = pcre2_compile_context_create(general);
    }
    if (r == NULL || context == NULL) {
        status = weft_fail(err, WEFT_NOMEM, "out of memory for a regular expression");
        goto done;
    }
    status = regex_pattern_translate(&translated, pattern, context, err);
    if (status != WEFT_OK) {
        goto done;
    }
    r->has_start = str_find(pattern, STR_LIT("\\G"), 0) != SIZE_MAX;
    (void)snprintf(r->shown, sizeof r->shown, STR_FMT, STR_ARG(pattern));
    int code = 0;
    PCRE2_SIZE at = 0;
    r->code = pcre2_compile((PCRE2_SPTR)buf_cstr(&translated), translated.len,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &at, context);
    if (r->code == NULL) {
        PCRE2_UCHAR text[120];
        (void)pcre2_get_error_message(code, text, sizeof text);
        status =
            weft_fail(err, code == PCRE2_ERROR_HEAP_FAILED ? WEFT_NOMEM : WEFT_FORMAT,
                      "regular expression '" STR_FMT "': %s", STR_ARG(pattern), (const char *)text);
        goto done;
    }
    r->has_jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
    *out = r;
    r = NULL;
    status = WEFT_OK;
done:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    buf_deinit(&translated);
    regex_destroy(&r);
    return status;
}

void regex_destroy(regex **r) {
    if (r == NULL || *r == NULL) {
        return;
    }
    pcre2_code_free((*r)->code);
    mem_free(*r);
    *r = NULL;
}

weft_status regex_scratch_create(regex_scratch **out, weft_error *err) {
    regex_scratch *s = mem_zalloc(MEM_TEXT, 1, sizeof *s);
    if (s != NULL) {
        s->general = pcre2_general_context_create(gate_alloc, gate_free, NULL);
    }
    if (s != NULL && s->general != NULL) {
        s->match = pcre2_match_context_create(s->general);
        s->data = pcre2_match_data_create(1, s->general);
    }
    if (s == NULL || s->match == NULL || s->data == NULL) {
        regex_scratch_destroy(&s);
        return weft_fail(err, WEFT_NOMEM, "out of memory for matching a regular expression");
    }
    *out = s;
    return WEFT_OK;
}

void regex_scratch_destroy(regex_scratch **s) {
    if (s == NULL || *s == NULL) {
        return;
    }
    pcre2_match_data_free((*s)->data);
    pcre2_match_context_free((*s)->match);
    if ((*s)->stack != NULL) {
        pcre2_jit_stack_free((*s)->stack);
    }
    pcre2_general_context_free((*s)->general);
    mem_free(*s);
    *s = NULL;
}

bool regex_find(const regex *r, regex_scratch *scratch, str text, size_t from, size_t *match_from,
                size_t *match_to) {
    if (scratch->stopped != NULL) {
        return false;
    }
    if (text.len == 0) {
        text.data = "";
    }
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;
    if (r->has_jit) {
        rc = match_jit(r, scratch, text, from);
    }
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        rc = pcre2_match(r->code, (PCRE2_SPTR)text.data, text.len, from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch->data, scratch->match);
    }
    if (rc < 0) {
        scratch->stopped = rc == PCRE2_ERROR_NOMATCH ? NULL : r;
        scratch->stopped_bytes = text.len;
        return false;
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(scratch->data);
    /* \K in a look-ahead could set the start behind the end; no such match is reported. */
    if (span[0] > span[1] || span[0] < from) {
        return false;
    }
    *match_from = span[0];
    *match_to = span[1];
    return true;
}

regex_found regex_find_growing(const regex *r, regex_scratch *scratch, str text, size_t from,
                               size_t *match_from, size_t *match_to) {
    if (scratch->stopped != NULL) {
        return REGEX_NONE;
    }
    const int rc = pcre2_match(r->code, (PCRE2_SPTR)(text.len == 0 ? "" : text.data), text.len,
                               from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT | PCRE2_PARTIAL_HARD,
                               scratch->data, scratch->match);
    if (rc == PCRE2_ERROR_NOMATCH) {
        return REGEX_NONE;
    }
    if (rc < 0 && rc != PCRE2_ERROR_PARTIAL) {
        scratch->stopped = r;
        scratch->stopped_bytes = text.len;
        return REGEX_NONE;
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(scratch->data);
    if (span[0] > span[1] || span[0] < from) { /* as in regex_find */
        return REGEX_NONE;
    }
    *match_from = span[0];
    *match_to = span[1];
    const bool is_open = span[0] == span[1] && span[1] == text.len;
    return rc == PCRE2_ERROR_PARTIAL || is_open ? REGEX_UNDECIDED : REGEX_MATCH;
}

bool regex_walk_next(regex_walk *w, const regex *r, regex_scratch *scratch, str text) {
    while (w->at <= text.len) {
        size_t from;
        size_t to;
        if (!regex_find(r, scratch, text, w->at, &from, &to)) {
            return false;
        }
        if (walk_to(w, text, from, to)) {
            return true;
        }
    }
    return false;
}

regex_found regex_walk_growing(regex_walk *w, const regex *r, regex_scratch *scratch, str text) {
    while (w->at <= text.len) {
        size_t from;
        size_t to;
        const regex_found found = regex_find_growing(r, scratch, text, w->at, &from, &to);
        if (found == REGEX_MATCH && !walk_to(w, text, from, to)) {
            continue;
        }
        w->sure = found == REGEX_NONE ? text.len : from;
        if (found != REGEX_MATCH && !r->has_start) {
            w->at = w->sure;
        }
        return found;
    }
    return REGEX_NONE;
}

bool regex_walk_text(regex_walk *w, str what, str text) {
    const size_t from = what.len > 0 ? str_find(text, what, w->at) : SIZE_MAX;
    return from != SIZE_MAX && walk_to(w, text, from, from + what.len);
}

/* False where the match is none. */
static bool walk_to(regex_walk *w, str text, size_t from, size_t to) {
    size_t n = from == to; /* behind an empty match it goes on with the next character */
    if (from == to && to < text.len) {
        (void)utf8_decode(str_slice(text, to, text.len), &n);
    }
    const bool is_behind = from == to && w->is_begun && to == w->to;
    w->at = to + n;
    if (is_behind) {
        return false;
    }
    w->from = from;
    w->to = to;
    w->is_begun = true;
    return true;
}

weft_status regex_scratch_status(const regex_scratch *s, weft_error *err) {
    if (s->stopped == NULL) {
        return WEFT_OK;
    }
    return weft_fail(err, WEFT_LIMIT,
                     "regular expression '%s': too many steps to find its matches in %zu bytes",
                     s->stopped->shown, s->stopped_bytes);
}

static int match_jit(const regex *r, regex_scratch *scratch, str text, size_t from) {
    int rc = pcre2_jit_match(r->code, (PCRE2_SPTR)text.data, text.len, from, PCRE2_NO_UTF_CHECK,
                             scratch->data, scratch->match);
    if (rc != PCRE2_ERROR_JIT_STACKLIMIT || scratch->stack != NULL) {
        return rc;
    }
    scratch->stack =
        pcre2_jit_stack_create(JIT_STACK_BYTES_MIN, JIT_STACK_BYTES_MAX, scratch->general);
    if (scratch->stack == NULL) {
        return rc;
    }
    pcre2_jit_stack_assign(scratch->match, NULL, scratch->stack);
    return pcre2_jit_match(r->code, (PCRE2_SPTR)text.data, text.len, from, PCRE2_NO_UTF_CHECK,
                           scratch->data, scratch->match);
}

static void *gate_alloc(size_t n, void *unused) {
    (void)unused;
    return mem_alloc(MEM_TEXT, n);
}

static void gate_free(void *p, void *unused) {
    (void)unused;
    mem_free(p);
}
