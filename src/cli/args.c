/* args.c - fills a table of options from argv.
 *
 * Each option kind has one parser that checks its range; the loop above them only finds the option
 * and its value. Nothing is guessed: a flag given a value, a missing value or a number with a tail
 * is an error.
 */
#include "cli/args.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

static weft_status bad_value(const args_option *o, const char *value, const char *wanted,
                             weft_error *err) {
    return weft_fail(err, WEFT_INVALID, "option %s is '%s', wanted %s", o->name, value, wanted);
}

static void number_range(const args_option *o, const char *what, char *out, size_t out_bytes) {
    if (o->min == 0 && o->max == 0) {
        snprintf(out, out_bytes, "%s", what);
    } else {
        snprintf(out, out_bytes, "%s from %.10g to %.10g", what, o->min, o->max);
    }
}

static bool in_range(const args_option *o, double value) {
    return (o->min == 0 && o->max == 0) || (value >= o->min && value <= o->max);
}

static weft_status parse_integer(const args_option *o, str text, const char *value, uint64_t limit,
                                 uint64_t *out, weft_error *err) {
    char wanted[96];
    uint64_t n = 0;
    if (!str_parse_u64(text, &n) || n > limit || !in_range(o, (double)n)) {
        number_range(o, "a whole number", wanted, sizeof wanted);
        return bad_value(o, value, wanted, err);
    }
    *out = n;
    return WEFT_OK;
}

static weft_status parse_float(const args_option *o, const char *value, weft_error *err) {
    char wanted[96];
    double d = 0;
    if (!str_parse_f64(str_from_cstr(value), &d) || !in_range(o, d)) {
        number_range(o, "a number", wanted, sizeof wanted);
        return bad_value(o, value, wanted, err);
    }
    *(float *)o->out = (float)d;
    return WEFT_OK;
}

static weft_status parse_list(const args_option *o, const char *value, weft_error *err) {
    args_list *list = o->out;
    str rest = str_from_cstr(value);
    list->count = 0;
    for (;;) {
        const size_t comma = str_find(rest, STR_LIT(","), 0);
        uint64_t n = 0;
        if (list->count == ARGS_LIST_MAX) {
            return bad_value(o, value, "at most 64 numbers", err);
        }
        const weft_status status =
            parse_integer(o, str_slice(rest, 0, comma), value, UINT32_MAX, &n, err);
        if (status != WEFT_OK) {
            return status;
        }
        list->values[list->count++] = (uint32_t)n;
        if (comma == SIZE_MAX) {
            return WEFT_OK;
        }
        rest = str_slice(rest, comma + 1, rest.len);
    }
}

static weft_status parse_value(const args_option *o, const char *value, weft_error *err) {
    uint64_t n = 0;
    weft_status status = WEFT_OK;
    switch (o->kind) {
    case ARGS_FLAG: return bad_value(o, value, "no value", err);
    case ARGS_STRING: *(const char **)o->out = value; return WEFT_OK;
    case ARGS_U32:
        status = parse_integer(o, str_from_cstr(value), value, UINT32_MAX, &n, err);
        if (status == WEFT_OK) {
            *(uint32_t *)o->out = (uint32_t)n;
        }
        return status;
    case ARGS_U64:
        status = parse_integer(o, str_from_cstr(value), value, UINT64_MAX, &n, err);
        if (status == WEFT_OK) {
            *(uint64_t *)o->out = n;
        }
        return status;
    case ARGS_FLOAT: return parse_float(o, value, err);
    case ARGS_BYTES:
        return str_parse_bytes(str_from_cstr(value), o->out)
                   ? WEFT_OK
                   : bad_value(o, value, "a size such as 512M or 4G", err);
    case ARGS_LIST: return parse_list(o, value, err);
    case ARGS_STRINGS: {
        args_strings *strings = o->out;
        if (strings->count == ARGS_LIST_MAX) {
            return bad_value(o, value, "at most 64 of this option", err);
        }
        strings->values[strings->count++] = value;
        return WEFT_OK;
    }
    }
    return WEFT_OK;
}

/* The option that arg names; *value is what follows '=', or NULL. */
static const args_option *find_option(const args_command *c, const char *arg, const char **value) {
    const char *equals = strchr(arg, '=');
    const size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    *value = equals != NULL ? equals + 1 : NULL;
    for (size_t i = 0; i < c->n_options; i++) {
        const args_option *o = &c->options[i];
        const bool is_long = strlen(o->name) == len && strncmp(o->name, arg, len) == 0;
        const bool is_short = o->letter != 0 && len == 2 && arg[0] == '-' && arg[1] == o->letter;
        if (is_long || is_short) {
            return o;
        }
    }
    return NULL;
}

static bool is_option(const char *arg) {
    return arg[0] == '-' && arg[1] != 0 && !(arg[1] >= '0' && arg[1] <= '9');
}

static weft_status take_option(const args_command *c, int argc, char **argv, int *i,
                               weft_error *err) {
    const char *value = NULL;
    const char *arg = argv[*i];
    const args_option *o = find_option(c, arg, &value);
    if (o == NULL) {
        return weft_fail(err, WEFT_INVALID, "unknown option '%s' (weft %s --help lists them)", arg,
                         c->name);
    }
    if (o->kind == ARGS_FLAG && value == NULL) {
        *(bool *)o->out = true;
        return WEFT_OK;
    }
    if (value == NULL) {
        if (*i + 1 >= argc) {
            return weft_fail(err, WEFT_INVALID, "option %s needs a value (%s)", o->name,
                             o->value_name);
        }
        value = argv[++*i];
    }
    return parse_value(o, value, err);
}

weft_status args_parse(const args_command *c, int argc, char **argv, args_result *out,
                       weft_error *err) {
    *out = (args_result){0};
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            break;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            out->wants_help = true;
            return WEFT_OK;
        }
    }
    bool has_options = true;
    for (int i = 0; i < argc; i++) {
        if (has_options && strcmp(argv[i], "--") == 0) {
            has_options = false;
        } else if (has_options && is_option(argv[i])) {
            const weft_status status = take_option(c, argc, argv, &i, err);
            if (status != WEFT_OK) {
                return status;
            }
        } else if (out->n_positionals == c->positionals_max) {
            return weft_fail(err, WEFT_INVALID, "unexpected argument '%s'; usage: weft %s %s",
                             argv[i], c->name, c->synopsis);
        } else {
            out->positionals[out->n_positionals++] = argv[i];
        }
    }
    if (out->n_positionals < c->positionals_min) {
        return weft_fail(err, WEFT_INVALID, "an argument is missing; usage: weft %s %s", c->name,
                         c->synopsis);
    }
    return WEFT_OK;
}

void args_print_help(const args_command *c) {
    printf("usage: weft %s %s%s\n\n%s\n", c->name, c->n_options > 0 ? "[OPTIONS] " : "",
           c->synopsis, c->summary);
    if (c->n_options > 0) {
        printf("\noptions:\n");
    }
    for (size_t i = 0; i < c->n_options; i++) {
        const args_option *o = &c->options[i];
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s%s",
                 (const char[]){o->letter != 0 ? '-' : ' ', o->letter != 0 ? o->letter : ' ', 0},
                 o->letter != 0 ? ", " : "  ", o->name, o->value_name != NULL ? " " : "",
                 o->value_name != NULL ? o->value_name : "");
        printf("  %-28s %s\n", left, o->help);
    }
    printf("\nexample:\n%s\n", c->example);
}
