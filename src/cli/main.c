/* main.c - finds the command and runs it.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/log.h"
#include "cli/cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", cmd_run, "answer a prompt, or chat"},
    {"serve", cmd_serve, "an OpenAI-compatible server"},
    {"bench", cmd_bench, "speed of the engine, in process"},
    {"bench-serve", cmd_bench_serve, "load on an OpenAI-compatible server"},
    {"info", cmd_info, "the machine, or a model file"},
    {"tokenize", cmd_tokenize, "text on stdin to token ids"},
    {"template", cmd_template, "chat request on stdin to prompt text"},
    {"logits", cmd_logits, "logits of given tokens as a .npy file"},
};

static void print_usage(FILE *out) {
    fprintf(out, "weft %s - run open language models\n\nusage: weft COMMAND [OPTIONS] ...\n\n",
            weft_version());
    for (size_t i = 0; i < WEFT_LEN(commands); i++) {
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out,
            "\nweft COMMAND --help tells more.\n\nexample:\n  weft run model.gguf \"Why is the "
            "sky blue?\"\n");
}

static void print_log(void *user, log_level level, const char *line) {
    (void)user;
    fprintf(stderr, "weft: %s%s\n", level >= LOG_LEVEL_WARN ? "warning: " : "", line);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    log_set_sink(print_log, NULL, LOG_LEVEL_INFO);
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_usage(stdout);
        return CLI_DONE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("weft %s\n", weft_version());
        return CLI_DONE;
    }
    for (size_t i = 0; i < WEFT_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return commands[i].run(argc - 2, argv + 2);
        }
    }
    fprintf(stderr, "weft: unknown command '%s' (weft --help lists them)\n", name);
    return CLI_USAGE;
}
