/* jinja_source.c - template text, normalised once, and error positions.
 *
 * jinja2 splits the source at \r\n, \r and \n, drops one empty last line (keep_trailing_newline
 * is off) and joins with \n. Doing the same up front means that the lexer only ever sees \n.
 */
#include "text/jinja_source.h"

#include <stdio.h>

#include "text/jinja.h"
#include "text/utf8.h"

static size_t normalise_newlines(char *to, str from);

weft_status jinja_source_init(jinja_source *s, arena *memory, str text, const char *name,
                              weft_error *err) {
    *s = (jinja_source){.name = "template"};
    char *copied_name = arena_strndup(memory, name, strlen(name));
    char *copy = arena_alloc(memory, text.len + 1, 1);
    if (copied_name == NULL || copy == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: no memory for %zu bytes of source", name, text.len);
    }
    if (!utf8_is_valid(text)) {
        return weft_fail(err, WEFT_FORMAT, "%s: the template is not valid UTF-8", name);
    }
    s->name = copied_name;
    size_t len = normalise_newlines(copy, text);
    if (len > 0 && copy[len - 1] == '\n') {
        len--;
    }
    copy[len] = '\0';
    s->text = str_from(copy, len);
    return WEFT_OK;
}

static size_t normalise_newlines(char *to, str from) {
    size_t len = 0;
    for (size_t i = 0; i < from.len; i++) {
        const char c = from.data[i];
        if (c == '\r') {
            to[len++] = '\n';
            i += i + 1 < from.len && from.data[i + 1] == '\n';
        } else {
            to[len++] = c;
        }
    }
    return len;
}

weft_status jinja_source_fail(const jinja_source *s, uint32_t at, weft_error *err, weft_status code,
                              const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const weft_status status = jinja_source_vfail(s, at, err, code, fmt, args);
    va_end(args);
    return status;
}

weft_status jinja_source_vfail(const jinja_source *s, uint32_t at, weft_error *err,
                               weft_status code, const char *fmt, va_list args) {
    size_t line = 1;
    size_t column = 1;
    const size_t end = at < s->text.len ? at : s->text.len;
    for (size_t i = 0; i < end; i++) {
        const unsigned char c = (unsigned char)s->text.data[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else {
            column += (c & 0xC0) != 0x80; /* continuation bytes are not characters */
        }
    }
    char message[WEFT_ERROR_MESSAGE_MAX];
    vsnprintf(message, sizeof(message), fmt, args);
    return weft_fail(err, code, "%s: line %zu, column %zu: %s", s->name, line, column, message);
}
