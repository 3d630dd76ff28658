/* jinja_functions.c - the global functions of a chat template.
 *
 * range, dict, namespace, cycler and joiner come from jinja2; raise_exception and strftime_now
 * are what transformers adds. lipsum is known and refused: no prompt needs random Latin.
 */
#include <time.h>

#include "text/jinja_args.h"

#define RANGE_ITEMS_MAX 100000 /* as jinja2's sandbox has it */
#define TIME_TEXT_MAX 4096

static weft_status function_range(jinja_run *run, jinja_value self, const jinja_call *call,
                                  jinja_value *out) {
    int64_t part[3] = {0, 0, 1};
    if (call->n_args < 1 || call->n_args > 3 || call->n_keywords > 0) {
        return jinja_run_fail(run, WEFT_INVALID, "range() takes 1 to 3 arguments (%u given)",
                              call->n_args);
    }
    for (uint32_t i = 0; i < call->n_args; i++) {
        if (!jinja_is_given(call->args[i])) {
            return jinja_run_fail(run, WEFT_INVALID, "range() arguments must be integers");
        }
        JINJA_TRY(jinja_arg_int(run, call->args[i], "range() argument", 0,
                                &part[call->n_args == 1 ? 1 : i]));
    }
    if (part[2] == 0) {
        return jinja_run_fail(run, WEFT_INVALID, "range() arg 3 must not be zero");
    }
    const bool is_up = part[2] > 0;
    uint64_t count = 0;
    if (is_up ? part[0] < part[1] : part[0] > part[1]) {
        const uint64_t span =
            is_up ? (uint64_t)part[1] - (uint64_t)part[0] : (uint64_t)part[0] - (uint64_t)part[1];
        const uint64_t step = is_up ? (uint64_t)part[2] : 0 - (uint64_t)part[2];
        count = (span - 1) / step + 1;
    }
    if (count > RANGE_ITEMS_MAX) {
        return jinja_run_fail(run, WEFT_INVALID, "range too big: %llu items, the limit is %d",
                              (unsigned long long)count, RANGE_ITEMS_MAX);
    }
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_range), &made));
    *(jinja_range *)made =
        (jinja_range){.start = part[0], .stop = part[1], .step = part[2], .count = (int64_t)count};
    *out = (jinja_value){.kind = JINJA_RANGE, .as.range = made};
    return WEFT_OK;
}

/* dict(mapping or pairs, **keywords) into a new dict. */
static weft_status make_dict(jinja_run *run, const jinja_call *call, jinja_dict **out) {
    JINJA_TRY(jinja_dict_create(run, 0, out));
    if (call->n_args > 1) {
        return jinja_run_fail(run, WEFT_INVALID, "dict expected at most 1 argument, got %u",
                              call->n_args);
    }
    if (call->n_args == 1 && call->args[0].kind == JINJA_DICT) {
        const jinja_dict *from = call->args[0].as.dict;
        for (uint32_t i = 0; i < from->count; i++) {
            JINJA_TRY(jinja_dict_set(run, *out, from->entries[i].key, from->entries[i].value));
        }
    } else if (call->n_args == 1) {
        jinja_list pairs;
        JINJA_TRY(jinja_iterate(run, call->args[0], &pairs));
        for (uint32_t i = 0; i < pairs.count; i++) {
            jinja_list pair;
            JINJA_TRY(jinja_iterate(run, pairs.items[i], &pair));
            if (pair.count != 2) {
                return jinja_run_fail(run, WEFT_INVALID,
                                      "dictionary update sequence element #%u has length %u; 2 is "
                                      "required",
                                      i, pair.count);
            }
            JINJA_TRY(jinja_dict_set(run, *out, pair.items[0], pair.items[1]));
        }
    }
    for (uint32_t i = 0; i < call->n_keywords; i++) {
        JINJA_TRY(jinja_dict_set(run, *out, jinja_string(call->keywords[i].name),
                                 call->keywords[i].value));
    }
    return WEFT_OK;
}

static weft_status function_dict(jinja_run *run, jinja_value self, const jinja_call *call,
                                 jinja_value *out) {
    jinja_dict *d;
    JINJA_TRY(make_dict(run, call, &d));
    *out = jinja_dict_value(d);
    return WEFT_OK;
}

static weft_status function_namespace(jinja_run *run, jinja_value self, const jinja_call *call,
                                      jinja_value *out) {
    jinja_dict *d;
    JINJA_TRY(make_dict(run, call, &d));
    for (uint32_t i = 0; i < d->count; i++) {
        const jinja_value key = d->entries[i].key;
        if (key.kind == JINJA_STRING && key.len > 0 && key.as.text[0] == '_') {
            return jinja_run_fail(run, WEFT_INVALID,
                                  "a namespace cannot store the underscore-prefixed '" STR_FMT "'",
                                  STR_ARG(jinja_text(key)));
        }
    }
    *out = (jinja_value){.kind = JINJA_NAMESPACE, .as.dict = d};
    return WEFT_OK;
}

static weft_status function_cycler(jinja_run *run, jinja_value self, const jinja_call *call,
                                   jinja_value *out) {
    if (call->n_args == 0 || call->n_keywords > 0) {
        return jinja_run_fail(run, WEFT_INVALID, "at least one item has to be provided");
    }
    void *made;
    void *items;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_cycler), &made));
    JINJA_TRY(jinja_run_alloc(run, call->n_args, sizeof(jinja_value), &items));
    memcpy(items, call->args, call->n_args * sizeof(jinja_value));
    *(jinja_cycler *)made = (jinja_cycler){.items = items, .count = call->n_args};
    *out = (jinja_value){.kind = JINJA_CYCLER, .as.cycler = made};
    return WEFT_OK;
}

static weft_status function_joiner(jinja_run *run, jinja_value self, const jinja_value *args,
                                   jinja_value *out) {
    void *made;
    JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_joiner), &made));
    jinja_joiner *j = made;
    j->separator = args[0].kind == JINJA_MISSING ? jinja_string(STR_LIT(", ")) : args[0];
    *out = (jinja_value){.kind = JINJA_JOINER, .as.joiner = j};
    return WEFT_OK;
}

static weft_status function_raise_exception(jinja_run *run, jinja_value self,
                                            const jinja_value *args, jinja_value *out) {
    str message;
    JINJA_TRY(jinja_to_str(run, args[0], &message));
    return jinja_run_fail(run, WEFT_INVALID, STR_FMT, STR_ARG(message));
}

static weft_status function_strftime_now(jinja_run *run, jinja_value self, const jinja_value *args,
                                         jinja_value *out) {
    str format;
    JINJA_TRY(jinja_arg_str(run, args[0], "strftime_now: format", &format));
    char text[TIME_TEXT_MAX];
    char pattern[TIME_TEXT_MAX / 4];
    if (format.len + 2 > sizeof(pattern) ||
        (format.len > 0 && memchr(format.data, '\0', format.len) != NULL)) {
        return jinja_run_fail(run, WEFT_INVALID, "strftime_now: the format is too long");
    }
    pattern[0] = ' '; /* so that an empty result and a failure differ */
    if (format.len > 0) {
        memcpy(pattern + 1, format.data, format.len);
    }
    pattern[format.len + 1] = '\0';
    const time_t now = (time_t)run->options.now_unix_s;
    struct tm parts;
    if (localtime_r(&now, &parts) == NULL) {
        return jinja_run_fail(run, WEFT_INVALID, "strftime_now: the time is out of range");
    }
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#endif
    const size_t len = strftime(text, sizeof(text), pattern, &parts);
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
    if (len == 0) {
        return jinja_run_fail(run, WEFT_INVALID, "strftime_now: the text is too long");
    }
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(jinja_write(&w, str_from(text + 1, len - 1)));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}

static weft_status function_lipsum(jinja_run *run, jinja_value self, const jinja_call *call,
                                   jinja_value *out) {
    return jinja_run_fail(run, WEFT_UNSUPPORTED, "the function lipsum is not supported");
}

static const jinja_builtin functions[] = {
    {.name = "range", .raw = function_range},
    {.name = "dict", .raw = function_dict},
    {.name = "namespace", .raw = function_namespace},
    {.name = "cycler", .raw = function_cycler},
    {.name = "joiner", .fn = function_joiner, .params = {"sep"}},
    {.name = "raise_exception",
     .fn = function_raise_exception,
     .n_required = 1,
     .params = {"message"}},
    {.name = "strftime_now", .fn = function_strftime_now, .n_required = 1, .params = {"format"}},
    {.name = "lipsum", .raw = function_lipsum},
    {.name = NULL},
};

const jinja_builtin *jinja_function_field(const jinja_builtin *function, str name) {
    return function->raw == function_dict && str_eq_cstr(name, "fromkeys")
               ? jinja_dict_method_find(name)
               : NULL;
}

const jinja_builtin *jinja_function_find(str name) { return jinja_builtin_find(functions, name); }
