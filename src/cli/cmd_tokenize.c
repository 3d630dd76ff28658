/* cmd_tokenize.c - text on standard input, byte for byte, to a JSON array of token ids.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "vocab/vocab.h"

typedef struct tokenize_options {
    bool has_no_special;
    bool decodes;
    bool is_many;
} tokenize_options;

static weft_status open_vocab(vocab **out, const char *path, weft_error *err) {
    char inside[4096];
    struct stat about;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
        const int len = snprintf(inside, sizeof inside, "%s/tokenizer.json", path);
        if (len < 0 || (size_t)len >= sizeof inside) {
            return weft_fail(err, WEFT_LIMIT, "path of more than %zu bytes", sizeof inside);
        }
        return vocab_create_from_json(out, inside, err);
    }
    if (str_ends_with(str_from_cstr(path), STR_LIT("tokenizer.json"))) {
        return vocab_create_from_json(out, path, err);
    }
    weights *w = NULL;
    weft_status status = weights_open(&w, path, err);
    if (status == WEFT_OK) {
        status = vocab_create(out, w, err);
    }
    weights_release(&w);
    return status;
}

static weft_status encode(const vocab *v, str text, uint32_t flags, weft_error *err) {
    vocab_ids ids = {0};
    weft_status status = WEFT_OK;
    if (text.len > 0) {
        status = vocab_encode(v, text, flags, &ids, err);
    }
    if (status == WEFT_OK) {
        putchar('[');
        for (size_t i = 0; i < ids.count; i++) {
            printf(i == 0 ? "%d" : ", %d", ids.ids[i]);
        }
        printf("]\n");
    }
    vocab_ids_deinit(&ids);
    return status;
}

/* ids: numbers between anything else. */
static weft_status decode(const vocab *v, str ids, weft_error *err) {
    buf text;
    vocab_decoder decoder;
    buf_init(&text, MEM_CLI, VOCAB_TEXT_BYTES_MAX);
    vocab_decoder_init(&decoder, v, false);
    for (size_t at = 0; at < ids.len;) {
        size_t to = at;
        int64_t id = 0;
        while (to < ids.len && ids.data[to] >= '0' && ids.data[to] <= '9') {
            to++;
        }
        if (to > at && str_parse_i64(str_slice(ids, at, to), &id) && id <= INT32_MAX) {
            vocab_decoder_push(&decoder, (int32_t)id, &text);
        }
        at = to + 1;
    }
    vocab_decoder_flush(&decoder, &text);
    fwrite(buf_cstr(&text), 1, text.len, stdout);
    weft_status status = vocab_decoder_status(&decoder, err);
    if (status == WEFT_OK && text.is_failed) {
        status = weft_fail(err, WEFT_NOMEM, "out of memory for the text");
    }
    vocab_decoder_deinit(&decoder);
    buf_deinit(&text);
    return status;
}

static weft_status run(const char *path, const tokenize_options *o, weft_error *err) {
    vocab *v = NULL;
    buf text;
    buf_init(&text, MEM_CLI, VOCAB_TEXT_BYTES_MAX);
    weft_status status = open_vocab(&v, path, err);
    if (status == WEFT_OK) {
        status = cli_read_stdin(&text, err);
    }
    const uint32_t flags = VOCAB_PARSE_SPECIAL | (o->has_no_special ? 0u : VOCAB_ADD_SPECIAL);
    for (size_t at = 0; status == WEFT_OK && (at < text.len || at == 0);) {
        const size_t end = o->is_many ? str_find(buf_view(&text), str_from("", 1), at) : SIZE_MAX;
        const str part = str_slice(buf_view(&text), at, end);
        status = o->decodes ? decode(v, part, err) : encode(v, part, flags, err);
        if (o->decodes && o->is_many) {
            putchar('\0');
        }
        at += part.len + 1;
    }
    buf_deinit(&text);
    vocab_destroy(&v);
    return status;
}

int cmd_tokenize(int argc, char **argv) {
    tokenize_options o = {0};
    const args_option options[] = {
        {"--no-special", 0, ARGS_FLAG, &o.has_no_special, 0, 0, NULL,
         "leave out the BOS and EOS that the model adds"},
        {"--decode", 0, ARGS_FLAG, &o.decodes, 0, 0, NULL,
         "the other way: token ids on standard input to text"},
        {"--null", 0, ARGS_FLAG, &o.is_many, 0, 0, NULL,
         "many texts, a NUL byte behind each; each is encoded alone"},
    };
    const args_command command = {
        .name = "tokenize",
        .synopsis = "MODEL < TEXT",
        .summary = "Turns standard input into token ids. Special tokens spelled in the text are\n"
                   "recognised. MODEL may hold a vocabulary only; it may also be a tokenizer.json\n"
                   "or the directory of one.",
        .example = "  printf 'Hello, world' | weft tokenize model.gguf",
        .options = options,
        .n_options = WEFT_LEN(options),
        .positionals_min = 1,
        .positionals_max = 1,
    };
    args_result args;
    weft_error err;
    int exit_code = CLI_DONE;
    if (!cli_begin(&command, argc, argv, &args, &exit_code)) {
        return exit_code;
    }
    return run(args.positionals[0], &o, &err) == WEFT_OK ? CLI_DONE : cli_fail(&err);
}
