/* cmd_tokenize.c - text on standard input, byte for byte, to a JSON array of token ids.
 */
#include <stdio.h>

#include "cli/cli.h"
#include "vocab/vocab.h"

static weft_status run(const char *path, bool adds_special, weft_error *err) {
    weights *w = NULL;
    vocab *v = NULL;
    vocab_ids ids = {0};
    buf text;
    buf_init(&text, MEM_CLI, VOCAB_TEXT_BYTES_MAX);
    weft_status status = weights_open(&w, path, err);
    if (status == WEFT_OK) {
        status = vocab_create(&v, w, err);
    }
    if (status == WEFT_OK) {
        status = cli_read_stdin(&text, err);
    }
    if (status == WEFT_OK && text.len > 0) {
        const uint32_t flags = VOCAB_PARSE_SPECIAL | (adds_special ? VOCAB_ADD_SPECIAL : 0u);
        status = vocab_encode(v, buf_view(&text), flags, &ids, err);
    }
    if (status == WEFT_OK) {
        putchar('[');
        for (size_t i = 0; i < ids.count; i++) {
            printf(i == 0 ? "%d" : ", %d", ids.ids[i]);
        }
        printf("]\n");
    }
    vocab_ids_deinit(&ids);
    buf_deinit(&text);
    vocab_destroy(&v);
    weights_release(&w);
    return status;
}

int cmd_tokenize(int argc, char **argv) {
    bool has_no_special = false;
    const args_option options[] = {
        {"--no-special", 0, ARGS_FLAG, &has_no_special, 0, 0, NULL,
         "leave out the BOS and EOS that the model adds"},
    };
    const args_command command = {
        .name = "tokenize",
        .synopsis = "MODEL < TEXT",
        .summary = "Turns standard input into token ids. Special tokens spelled in the text are\n"
                   "recognised; a file that holds a vocabulary only is enough.",
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
    return run(args.positionals[0], !has_no_special, &err) == WEFT_OK ? CLI_DONE : cli_fail(&err);
}
