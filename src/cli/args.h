/* args.h - command lines as data: a table of options, filled from argv, printed as help.
 *
 * Conventions: --name VALUE or --name=VALUE, -n VALUE, flags take none, "--" ends options,
 * positionals may stand anywhere. An unknown option or a bad value is wrong usage (exit 2) and the
 * message names the option, the value found and what was wanted.
 */
#ifndef WEFT_CLI_ARGS_H
#define WEFT_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define ARGS_LIST_MAX 64u
#define ARGS_POSITIONALS_MAX 64u

typedef enum args_kind {
    ARGS_FLAG,   /* bool */
    ARGS_STRING, /* const char * */
    ARGS_U32,    /* uint32_t within [min, max] */
    ARGS_U64,    /* uint64_t within [min, max] */
    ARGS_FLOAT,  /* float within [min, max] */
    ARGS_BYTES,  /* uint64_t: "512M", "4G" */
    ARGS_LIST,   /* args_list: "1,4,16" within [min, max] */
    ARGS_STRINGS /* args_strings: may be given many times */
} args_kind;

typedef struct args_list {
    uint32_t values[ARGS_LIST_MAX];
    uint32_t count;
} args_list;

typedef struct args_strings {
    const char *values[ARGS_LIST_MAX];
    uint32_t count;
} args_strings;

typedef struct args_option {
    const char *name; /* "--ctx" */
    char letter;      /* 'c' or 0 */
    args_kind kind;
    void *out;              /* left alone when the option is absent: put the default there */
    double min, max;        /* of numbers; both 0 = no limit beyond the type's */
    const char *value_name; /* "N" */
    const char *help;
} args_option;

typedef struct args_command {
    const char *name;     /* "run" */
    const char *synopsis; /* "MODEL [PROMPT]" */
    const char *summary;  /* one line */
    const char *example;  /* one or more lines */
    const args_option *options;
    size_t n_options;
    uint32_t positionals_min, positionals_max;
} args_command;

typedef struct args_result {
    const char *positionals[ARGS_POSITIONALS_MAX];
    uint32_t n_positionals;
    bool wants_help; /* --help or -h was there: nothing else was checked */
} args_result;

/* argv without program and command name. WEFT_INVALID with a message on wrong usage. */
weft_status args_parse(const args_command *c, int argc, char **argv, args_result *out,
                       weft_error *err) WEFT_NODISCARD;

/* Synopsis, summary, options and example, to stdout. */
void args_print_help(const args_command *c);

#endif /* WEFT_CLI_ARGS_H */
