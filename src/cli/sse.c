/* sse.c - lines are cut at LF, an empty line ends an event.
 *
 * A line that lies whole within the piece is read where it is; only what is cut by the end of a
 * piece is copied. So the usual case, one event a piece, copies the data of the event and nothing
 * else.
 */
#include "cli/sse.h"

void sse_init(sse *s) {
    buf_init(&s->line, MEM_CLI, SSE_EVENT_BYTES_MAX);
    buf_init(&s->data, MEM_CLI, SSE_EVENT_BYTES_MAX);
}

void sse_deinit(sse *s) {
    buf_deinit(&s->line);
    buf_deinit(&s->data);
}

void sse_reset(sse *s) {
    buf_clear(&s->line);
    buf_clear(&s->data);
}

/* One line without its LF. */
static void take_line(sse *s, str line, sse_event_fn *on_event, void *user) {
    const str field = STR_LIT("data:");
    if (line.len > 0 && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    if (line.len == 0) {
        if (s->data.len > 0 && !s->data.is_failed) {
            s->data.len--; /* the break after the last line of data */
            on_event(user, buf_view(&s->data));
            buf_clear(&s->data);
        }
    } else if (str_starts_with(line, field)) {
        str value = str_slice(line, field.len, line.len);
        value = str_starts_with(value, STR_LIT(" ")) ? str_slice(value, 1, value.len) : value;
        buf_append_str(&s->data, value);
        buf_append_char(&s->data, '\n');
    }
}

bool sse_push(sse *s, const char *bytes, size_t len, sse_event_fn *on_event, void *user) {
    str rest = str_from(bytes, len);
    while (rest.len > 0 && !s->line.is_failed && !s->data.is_failed) {
        const char *end = memchr(rest.data, '\n', rest.len);
        if (end == NULL) {
            buf_append_str(&s->line, rest);
            break;
        }
        const str piece = str_slice(rest, 0, (size_t)(end - rest.data));
        if (s->line.len == 0) {
            take_line(s, piece, on_event, user);
        } else if (buf_append_str(&s->line, piece)) {
            take_line(s, buf_view(&s->line), on_event, user);
            buf_clear(&s->line);
        }
        rest = str_slice(rest, piece.len + 1, rest.len);
    }
    return !s->line.is_failed && !s->data.is_failed;
}
