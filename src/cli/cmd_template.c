/* cmd_template.c - a chat request on standard input to the prompt text the model would see.
 *
 * With a model or a Hugging Face folder, its own template and tokens are used and the request has
 * OpenAI's shape. With a bare .jinja file every top-level key of the JSON is a template variable,
 * as given.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli/cli.h"
#include "text/jinja.h"
#include "vocab/chat.h"
#include "vocab/vocab.h"

#define REQUEST_BYTES_MAX (64u << 20)

static weft_status render_file(const char *path, str request, buf *out, weft_error *err) {
    char *source = NULL;
    size_t len = 0;
    jinja *j = NULL;
    weft_status status = os_read_file(&source, &len, path, JINJA_SOURCE_BYTES_MAX, err);
    if (status == WEFT_OK) {
        status = jinja_compile(&j, str_from(source, len), path, err);
    }
    if (status == WEFT_OK) {
        const jinja_options options = {.now_unix_s = clock_unix_s()};
        status = jinja_render(j, request, &options, out, err);
    }
    jinja_destroy(&j);
    mem_free(source);
    return status;
}

static weft_status render_model(const char *path, str request, buf *out, weft_error *err) {
    weights *w = NULL;
    vocab *v = NULL;
    chat *c = NULL;
    str source = {0};
    bool found = false;
    weft_status status = weights_open(&w, path, err);
    if (status == WEFT_OK) {
        status = weights_get_str(w, "tokenizer.chat_template", &source, &found, err);
    }
    if (status == WEFT_OK && !found) {
        status = weft_fail(err, WEFT_UNSUPPORTED, "%s: the model has no chat template", path);
    }
    if (status == WEFT_OK) {
        status = vocab_create(&v, w, err);
    }
    if (status == WEFT_OK) {
        status = chat_create(&c, source, vocab_token_text(v, vocab_bos(v)),
                             vocab_token_text(v, vocab_eos(v)), err);
    }
    if (status == WEFT_OK) {
        status = chat_apply(c, request, out, err);
    }
    chat_destroy(&c);
    vocab_destroy(&v);
    weights_release(&w);
    return status;
}

static weft_status render_folder(const char *path, str request, buf *out, weft_error *err) {
    chat *c = NULL;
    weft_status status = chat_create_from_folder(&c, path, err);
    if (status == WEFT_OK) {
        status = chat_apply(c, request, out, err);
    }
    chat_destroy(&c);
    return status;
}

static weft_status run(const char *path, weft_error *err) {
    buf request, out;
    buf_init(&request, MEM_CLI, REQUEST_BYTES_MAX);
    buf_init(&out, MEM_CLI, JINJA_OUTPUT_BYTES_MAX);
    weft_status status = cli_read_stdin(&request, err);
    if (status == WEFT_OK) {
        const bool is_bare = str_ends_with(str_from_cstr(path), STR_LIT(".jinja")) ||
                             str_ends_with(str_from_cstr(path), STR_LIT(".j2"));
        status = (is_bare                 ? render_file
                  : os_is_directory(path) ? render_folder
                                          : render_model)(path, buf_view(&request), &out, err);
    }
    if (status == WEFT_OK && fwrite(buf_cstr(&out), 1, out.len, stdout) != out.len) {
        status = weft_fail(err, WEFT_IO, "standard output: cannot write %zu bytes", out.len);
    }
    buf_deinit(&request);
    buf_deinit(&out);
    return status;
}

int cmd_template(int argc, char **argv) {
    const args_command command = {
        .name = "template",
        .synopsis = "MODEL|FOLDER|FILE.jinja < REQUEST.json",
        .summary = "Renders a chat request with a model's template, or any variables with a bare "
                   "template file.",
        .example = "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' |\n"
                   "    weft template model.gguf",
        .positionals_min = 1,
        .positionals_max = 1,
    };
    args_result args;
    weft_error err;
    int exit_code = CLI_DONE;
    if (!cli_begin(&command, argc, argv, &args, &exit_code)) {
        return exit_code;
    }
    return run(args.positionals[0], &err) == WEFT_OK ? CLI_DONE : cli_fail(&err);
}
