/* chat_loop.c - reads what the user types, line by line, with history and editing by libedit.
 *
 * A line that begins with a slash is a command; a line of three quotes opens a message of several
 * lines and another closes it; a backslash at the end of a line continues it. Everything else is a
 * message. Ctrl-C at the prompt drops the line, Ctrl-D or /bye ends.
 */
#include "cli/chat_loop.h"

#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"

#define HISTORY_LINES 500
#define MESSAGE_BYTES_MAX (16u << 20)
#define SAVED_BYTES_MAX (256u << 20)

typedef struct chat_loop_state {
    session *s;
    EditLine *el;
    History *history;
    const char *prompt; /* what libedit shows */
    bool is_over;
} chat_loop_state;

typedef void command_fn(chat_loop_state *c, str args);

static void cmd_help(chat_loop_state *c, str args);
static void cmd_clear(chat_loop_state *c, str args);
static void cmd_system(chat_loop_state *c, str args);
static void cmd_save(chat_loop_state *c, str args);
static void cmd_load(chat_loop_state *c, str args);
static void cmd_set(chat_loop_state *c, str args);
static void cmd_show(chat_loop_state *c, str args);
static void cmd_bye(chat_loop_state *c, str args);

static const struct {
    const char *name, *args, *help;
    command_fn *run;
} chat_commands[] = {
    {"/help", "", "this list", cmd_help},
    {"/clear", "", "forget the conversation, keep the system message", cmd_clear},
    {"/system", "TEXT", "set the system message (no TEXT: remove it)", cmd_system},
    {"/save", "FILE", "write the conversation to a file", cmd_save},
    {"/load", "FILE", "go on with a saved conversation", cmd_load},
    {"/set", "NAME VALUE", "temp, top_k, top_p, min_p, repeat_penalty, seed, max_tokens, verbose",
     cmd_set},
    {"/show", "", "model, settings, memory", cmd_show},
    {"/bye", "", "end (Ctrl-D too)", cmd_bye},
};

static void print_error(const weft_error *err) { fprintf(stderr, "%s\n", err->message); }

/* ---- commands ---- */

static void cmd_help(chat_loop_state *c, str args) {
    (void)c;
    (void)args;
    for (size_t i = 0; i < WEFT_LEN(chat_commands); i++) {
        printf("  %-8s %-11s %s\n", chat_commands[i].name, chat_commands[i].args,
               chat_commands[i].help);
    }
    printf("  \"\"\" opens and closes a message of several lines; a \\ at the end of a line "
           "continues it\n  Ctrl-C stops an answer\n");
}

static const char *role_of(const json_t *message) {
    const char *role = json_string_value(json_object_get(message, "role"));
    return role != NULL ? role : "";
}

static bool has_system(const session *s) {
    return strcmp(role_of(json_array_get(s->messages, 0)), "system") == 0;
}

static void cmd_clear(chat_loop_state *c, str args) {
    (void)args;
    json_t *messages = c->s->messages;
    const size_t kept = has_system(c->s) ? 1 : 0;
    while (json_array_size(messages) > kept) {
        json_array_remove(messages, json_array_size(messages) - 1);
    }
    printf("the conversation is empty\n");
}

static void cmd_system(chat_loop_state *c, str args) {
    if (has_system(c->s)) {
        json_array_remove(c->s->messages, 0);
    }
    if (args.len == 0) {
        printf("no system message\n");
        return;
    }
    json_t *message = json_pack("{s:s, s:s%}", "role", "system", "content", args.data, args.len);
    if (message == NULL || json_array_insert_new(c->s->messages, 0, message) != 0) {
        fprintf(stderr, "the system message is not valid UTF-8\n");
    }
}

/* A NUL-terminated copy, to be freed with mem_free; NULL after a message when empty. */
static char *file_name(str args, const char *command) {
    if (args.len == 0) {
        fprintf(stderr, "%s needs a file name\n", command);
        return NULL;
    }
    return mem_strndup(MEM_CLI, args.data, args.len);
}

static void cmd_save(chat_loop_state *c, str args) {
    weft_error err;
    char *path = file_name(args, "/save");
    if (path == NULL) {
        return;
    }
    json_t *root = json_pack("{s:O}", "messages", c->s->messages);
    const size_t len = root != NULL ? json_dumpb(root, NULL, 0, JSON_INDENT(1)) : 0;
    char *text = len > 0 ? mem_alloc(MEM_CLI, len) : NULL;
    if (text == NULL) {
        fprintf(stderr, "out of memory for the conversation\n");
    } else {
        json_dumpb(root, text, len, JSON_INDENT(1));
        if (os_write_file(path, text, len, &err) == WEFT_OK) {
            printf("saved %zu messages\n", json_array_size(c->s->messages));
        } else {
            print_error(&err);
        }
    }
    json_decref(root);
    mem_free(text);
    mem_free(path);
}

/* True when every element is {"role": text, "content": text}. */
static bool are_messages(const json_t *messages) {
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        if (!json_is_string(json_object_get(m, "role")) ||
            !json_is_string(json_object_get(m, "content"))) {
            return false;
        }
    }
    return json_is_array(messages);
}

static void cmd_load(chat_loop_state *c, str args) {
    weft_error err;
    json_error_t where;
    size_t len = 0;
    char *text = NULL;
    char *path = file_name(args, "/load");
    if (path == NULL) {
        return;
    }
    if (os_read_file(&text, &len, path, SAVED_BYTES_MAX, &err) != WEFT_OK) {
        print_error(&err);
        mem_free(path);
        return;
    }
    json_t *root = json_loadb(text, len, 0, &where);
    json_t *messages = json_object_get(root, "messages");
    if (!are_messages(messages)) {
        fprintf(stderr, "%s: %s\n", path,
                root == NULL ? where.text : "wanted {\"messages\": [{\"role\", \"content\"}]}");
    } else {
        json_decref(c->s->messages);
        c->s->messages = json_incref(messages);
        printf("%zu messages\n", json_array_size(messages));
    }
    json_decref(root);
    mem_free(text);
    mem_free(path);
}

static bool set_float(float *out, str value, double min, double max) {
    double d = 0;
    if (!str_parse_f64(value, &d) || d < min || d > max) {
        fprintf(stderr, "wanted a number from %g to %g\n", min, max);
        return false;
    }
    *out = (float)d;
    return true;
}

static void cmd_set(chat_loop_state *c, str args) {
    weft_request_options *o = &c->s->sampling;
    const size_t space = str_find(args, STR_LIT(" "), 0);
    const str name = str_slice(args, 0, space);
    const str value = space == SIZE_MAX ? (str){0} : str_trim(str_slice(args, space + 1, args.len));
    uint64_t n = 0;
    if (str_eq_cstr(name, "temp")) {
        set_float(&o->temperature, value, 0, 100);
    } else if (str_eq_cstr(name, "top_p")) {
        set_float(&o->top_p, value, 1e-6, 1);
    } else if (str_eq_cstr(name, "min_p")) {
        set_float(&o->min_p, value, 0, 1);
    } else if (str_eq_cstr(name, "repeat_penalty")) {
        set_float(&o->repetition_penalty, value, 1e-6, 100);
    } else if (str_eq_cstr(name, "verbose")) {
        c->s->is_verbose = str_eq_cstr(value, "on") || str_eq_cstr(value, "1");
    } else if (!str_parse_u64(value, &n)) {
        fprintf(stderr, "usage: /set temp|top_k|top_p|min_p|repeat_penalty|seed|max_tokens|verbose "
                        "VALUE\n");
    } else if (str_eq_cstr(name, "seed")) {
        o->seed = n;
        o->has_seed = true;
    } else if (str_eq_cstr(name, "top_k") && n <= INT32_MAX) {
        o->top_k = (int32_t)n;
    } else if (str_eq_cstr(name, "max_tokens") && n <= UINT32_MAX) {
        o->max_tokens = (uint32_t)n;
    } else {
        fprintf(stderr, "no setting '" STR_FMT "' takes " STR_FMT "\n", STR_ARG(name),
                STR_ARG(value));
    }
}

static void cmd_show(chat_loop_state *c, str args) {
    (void)args;
    const weft_engine_info i = weft_engine_info_now(c->s->en);
    const weft_request_options *o = &c->s->sampling;
    printf("model     %s (%s, %u layers, %.0f M parameters)\n", i.name[0] != 0 ? i.name : i.path,
           i.arch, i.n_layers, (double)i.params_total / 1e6);
    printf("context   %u of %u positions\n", i.ctx, i.ctx_train);
    printf("sampling  temp %g, top_k %d, top_p %g, min_p %g, repeat_penalty %g, max_tokens %u\n",
           (double)o->temperature, o->top_k, (double)o->top_p, (double)o->min_p,
           (double)o->repetition_penalty, o->max_tokens);
    printf("messages  %zu\n", json_array_size(c->s->messages));
    fflush(stdout);
    session_print_memory(c->s);
}

static void cmd_bye(chat_loop_state *c, str args) {
    (void)args;
    c->is_over = true;
}

static void run_command(chat_loop_state *c, str line) {
    const size_t space = str_find(line, STR_LIT(" "), 0);
    const str name = str_slice(line, 0, space);
    for (size_t i = 0; i < WEFT_LEN(chat_commands); i++) {
        if (str_eq_cstr(name, chat_commands[i].name)) {
            chat_commands[i].run(
                c, space == SIZE_MAX ? (str){0} : str_trim(str_slice(line, space + 1, line.len)));
            return;
        }
    }
    fprintf(stderr, "unknown command " STR_FMT " (/help lists them)\n", STR_ARG(name));
}

/* ---- lines ---- */

static char *show_prompt(EditLine *el) {
    chat_loop_state *c = NULL;
    el_get(el, EL_CLIENTDATA, &c);
    return (char *)(uintptr_t)c->prompt; /* libedit does not change it */
}

/* One line without its newline. False at the end of input; an interrupted line comes back empty. */
static bool read_line(chat_loop_state *c, const char *prompt, str *out) {
    int count = 0;
    c->prompt = prompt;
    const char *line = el_gets(c->el, &count);
    if (line == NULL || count <= 0) {
        *out = (str){0};
        if (session_interrupted()) {
            el_reset(c->el);
            printf("\n");
            return true;
        }
        return false;
    }
    *out = str_from(line, (size_t)count);
    if (str_ends_with(*out, STR_LIT("\n"))) {
        out->len--;
    }
    return true;
}

static bool is_fence(str line) { return str_eq_cstr(str_trim(line), "\"\"\""); }

/* Lines up to the closing fence. */
static bool read_fenced(chat_loop_state *c, buf *message) {
    str line;
    while (read_line(c, "... ", &line)) {
        if (is_fence(line)) {
            return true;
        }
        buf_append_str(message, line);
        buf_append_char(message, '\n');
    }
    return false;
}

/* One message or command, however many lines it takes. False at the end of input. */
static bool read_message(chat_loop_state *c, buf *message) {
    str line;
    if (!read_line(c, ">>> ", &line)) {
        return false;
    }
    if (is_fence(line)) {
        return read_fenced(c, message);
    }
    while (str_ends_with(line, STR_LIT("\\"))) {
        buf_append(message, line.data, line.len - 1);
        buf_append_char(message, '\n');
        if (!read_line(c, "... ", &line)) {
            return true;
        }
    }
    return buf_append_str(message, line);
}

static void answer(chat_loop_state *c, const char *text) {
    weft_error err;
    json_t *messages = c->s->messages;
    const size_t n_before = json_array_size(messages);
    weft_status status = session_say(c->s, "user", text, &err);
    if (status == WEFT_OK) {
        status = session_answer(c->s, &err);
    }
    if (status != WEFT_OK) {
        print_error(&err);
        while (json_array_size(messages) > n_before) {
            json_array_remove(messages, json_array_size(messages) - 1);
        }
    }
}

static void take_message(chat_loop_state *c, const buf *message) {
    HistEvent event;
    const str text = str_trim(buf_view(message));
    if (text.len == 0) {
        return;
    }
    history(c->history, &event, H_ENTER, buf_cstr(message));
    if (text.data[0] == '/') {
        run_command(c, text);
    } else {
        answer(c, buf_cstr(message));
    }
}

static weft_status open_editor(chat_loop_state *c, weft_error *err) {
    HistEvent event;
    setlocale(LC_CTYPE, ""); /* so that libedit knows the terminal's encoding */
    c->history = history_init();
    c->el = el_init("weft", stdin, stdout, stderr);
    if (c->history == NULL || c->el == NULL) {
        return weft_fail(err, WEFT_NOMEM, "cannot set up line editing");
    }
    history(c->history, &event, H_SETSIZE, HISTORY_LINES);
    el_set(c->el, EL_CLIENTDATA, c);
    el_set(c->el, EL_PROMPT, show_prompt);
    el_set(c->el, EL_EDITOR, "emacs");
    el_set(c->el, EL_SIGNAL, 1);
    el_set(c->el, EL_HIST, history, c->history);
    return WEFT_OK;
}

weft_status chat_loop(session *s, weft_error *err) {
    chat_loop_state c = {.s = s};
    const weft_engine_info info = weft_engine_info_now(s->en);
    if (!info.has_chat_template) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "%s has no chat template: give it a prompt to continue", info.path);
    }
    const weft_status status = open_editor(&c, err);
    if (status == WEFT_OK) {
        printf("%s. /help for commands, /bye to end.\n", info.name[0] != 0 ? info.name : info.path);
    }
    while (status == WEFT_OK && !c.is_over) {
        buf message;
        buf_init(&message, MEM_CLI, MESSAGE_BYTES_MAX);
        c.is_over = !read_message(&c, &message);
        take_message(&c, &message);
        buf_deinit(&message);
    }
    if (c.el != NULL) {
        el_end(c.el);
    }
    if (c.history != NULL) {
        history_end(c.history);
    }
    return status;
}
