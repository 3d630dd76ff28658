/* chat_folder.c - the chat template of a Hugging Face folder.
 *
 * chat_template.jinja is the template where there is one; else "chat_template" in
 * tokenizer_config.json, a text or a list of named ones, of which "default" is taken. The texts of
 * BOS and EOS stand in tokenizer_config.json, as texts or as objects with "content".
 */
#include <stdio.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/jinja.h"
#include "text/json_reader.h"
#include "vocab/chat.h"

#define CONFIG_BYTES_MAX ((size_t)64 << 20) /* some have thousands of added tokens */
#define PATH_BYTES_MAX 4096

typedef struct folder {
    char *config; /* tokenizer_config.json */
    size_t config_len;
    char *source; /* chat_template.jinja */
    size_t source_len;
    arena texts;
    str template; /* in source, config or texts */
    str bos, eos;
} folder;

/* The file of the folder, or nothing where there is none. */
static weft_status read_file(char **out, size_t *len, const char *path, const char *name,
                             size_t max_bytes, weft_error *err) {
    char inside[PATH_BYTES_MAX];
    const int n = snprintf(inside, sizeof(inside), "%s/%s", path, name);
    if (n < 0 || (size_t)n >= sizeof(inside)) {
        return weft_fail(err, WEFT_INVALID, "a path of more than %d bytes", PATH_BYTES_MAX);
    }
    return os_is_file(inside) ? os_read_file(out, len, inside, max_bytes, err) : WEFT_OK;
}

/* A text, or the member of that name of an object; anything else is skipped and gives nothing. */
static str read_text(json_reader *r, const char *member) {
    str text = {0};
    const json_event e = json_reader_next(r);
    if (e == JSON_EVENT_STRING) {
        return r->text;
    }
    if (e == JSON_EVENT_ARRAY) {
        json_reader_skip(r);
    }
    if (e != JSON_EVENT_OBJECT) {
        return text;
    }
    while (json_reader_next(r) == JSON_EVENT_KEY) {
        if (!str_eq_cstr(r->text, member)) {
            json_reader_skip(r);
        } else if (json_reader_next(r) == JSON_EVENT_STRING) {
            text = r->text;
        } else {
            json_reader_skip(r);
        }
    }
    return text;
}

/* [{"name": "default", "template": "..."}, ...] */
static str read_named(json_reader *r) {
    str found = {0};
    json_event e;
    while ((e = json_reader_next(r)) != JSON_EVENT_ARRAY_END && e != JSON_EVENT_ERROR) {
        str name = {0};
        str template = {0};
        if (e != JSON_EVENT_OBJECT) {
            json_reader_skip(r);
            continue;
        }
        while (json_reader_next(r) == JSON_EVENT_KEY) {
            const bool is_name = str_eq_cstr(r->text, "name");
            if (!is_name && !str_eq_cstr(r->text, "template")) {
                json_reader_skip(r);
            } else if (json_reader_next(r) != JSON_EVENT_STRING) {
                json_reader_skip(r);
            } else if (is_name) {
                name = r->text;
            } else {
                template = r->text;
            }
        }
        if (str_eq_cstr(name, "default")) {
            found = template;
        }
    }
    return found;
}

static weft_status read_config(folder *f, const char *path, weft_error *err) {
    json_reader r;
    weft_error why;
    json_reader_init(&r, str_from(f->config, f->config_len), &f->texts);
    if (json_reader_next(&r) == JSON_EVENT_OBJECT) {
        while (json_reader_next(&r) == JSON_EVENT_KEY) {
            if (str_eq_cstr(r.text, "bos_token")) {
                f->bos = read_text(&r, "content");
            } else if (str_eq_cstr(r.text, "eos_token")) {
                f->eos = read_text(&r, "content");
            } else if (str_eq_cstr(r.text, "chat_template")) {
                const json_event e = json_reader_next(&r);
                if (e == JSON_EVENT_OBJECT) {
                    json_reader_skip(&r);
                }
                f->template = e == JSON_EVENT_STRING  ? r.text
                              : e == JSON_EVENT_ARRAY ? read_named(&r)
                                                      : (str){0};
            } else {
                json_reader_skip(&r);
            }
        }
    }
    return json_reader_status(&r, &why) == WEFT_OK
               ? WEFT_OK
               : weft_fail(err, WEFT_FORMAT, "%s/tokenizer_config.json: %s", path, why.message);
}

weft_status chat_create_from_folder(chat **out, const char *path, weft_error *err) {
    folder f = {0};
    arena_init(&f.texts, MEM_VOCAB, CONFIG_BYTES_MAX);
    weft_status status =
        read_file(&f.config, &f.config_len, path, "tokenizer_config.json", CONFIG_BYTES_MAX, err);
    if (status == WEFT_OK && f.config != NULL) {
        status = read_config(&f, path, err);
    }
    if (status == WEFT_OK) {
        status = read_file(&f.source, &f.source_len, path, "chat_template.jinja",
                           JINJA_SOURCE_BYTES_MAX, err);
    }
    if (f.source != NULL) {
        f.template = str_from(f.source, f.source_len);
    }
    if (status == WEFT_OK && f.template.len == 0) {
        status = weft_fail(err, WEFT_UNSUPPORTED,
                           "%s: no chat_template.jinja and none in tokenizer_config.json", path);
    }
    if (status == WEFT_OK) {
        status = chat_create(out, f.template, f.bos, f.eos, err);
    }
    arena_deinit(&f.texts);
    mem_free(f.source);
    mem_free(f.config);
    return status;
}
