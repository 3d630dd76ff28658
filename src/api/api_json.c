/* api_json.c - documents are dumped into a bounded buffer and handed to http.
 */
#include "api/api_json.h"

#include "text/utf8.h"

#define DOCUMENT_BYTES_MAX (512u << 20)

json_t *api_json_text(const char *text, size_t len) {
    json_t *direct = json_stringn(text, len);
    if (direct != NULL) {
        return direct;
    }
    buf clean;
    buf_init(&clean, MEM_API, DOCUMENT_BYTES_MAX);
    str rest = str_from(text, len);
    while (rest.len > 0) {
        size_t n = 0;
        if (utf8_decode(rest, &n) == UTF8_INVALID) {
            buf_append_cstr(&clean, "\xEF\xBF\xBD");
        } else {
            buf_append(&clean, rest.data, n);
        }
        rest = str_slice(rest, n, rest.len);
    }
    json_t *value = json_stringn(buf_cstr(&clean), clean.len);
    buf_deinit(&clean);
    return value;
}

static bool is_plain(char c) {
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* The character that stands after the backslash, 0 for none. */
static char short_escape(char c) {
    switch (c) {
    case '"':
    case '\\': return c;
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 0;
    }
}

void api_json_escape(buf *out, str text) {
    while (text.len > 0) {
        size_t n = 0;
        while (n < text.len && is_plain(text.data[n])) {
            n++;
        }
        buf_append(out, text.data, n);
        text = str_slice(text, n, text.len);
        if (text.len == 0) {
            return;
        }
        const char c = text.data[0];
        n = 1;
        if (short_escape(c) != 0) {
            buf_append_char(out, '\\');
            buf_append_char(out, short_escape(c));
        } else if ((unsigned char)c < 0x20) {
            buf_printf(out, "\\u%04X", (unsigned)(unsigned char)c);
        } else if (utf8_decode(text, &n) == UTF8_INVALID) {
            buf_append_cstr(out, "\xEF\xBF\xBD");
        } else {
            buf_append(out, text.data, n);
        }
        text = str_slice(text, n, text.len);
    }
}

const char *api_json_type(const json_t *v) {
    if (v == NULL) {
        return "missing";
    }
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: break;
    }
    return "null";
}

json_t *api_json_error(const api_error *e) {
    /* Both may have been cut within a character. */
    json_t *message = api_json_text(e->message, strlen(e->message));
    json_t *param = e->param[0] != 0 ? api_json_text(e->param, strlen(e->param)) : json_null();
    return json_pack("{s:{s:o, s:s, s:o, s:s?}}", "error", "message", message, "type", e->type,
                     "param", param, "code", e->code);
}

static int append_chunk(const char *data, size_t len, void *out) {
    return buf_append(out, data, len) ? 0 : -1;
}

bool api_json_dump(buf *out, const json_t *root) {
    return root != NULL && json_dump_callback(root, append_chunk, out, JSON_COMPACT) == 0;
}

void api_json_respond(http_exchange *x, int http_status, json_t *root) {
    buf body;
    buf_init(&body, MEM_API, DOCUMENT_BYTES_MAX);
    if (api_json_dump(&body, root)) {
        http_respond(x, http_status, "application/json", buf_cstr(&body), body.len);
    } else {
        static const char text[] = "{\"error\": {\"message\": \"out of memory for the answer\", "
                                   "\"type\": \"server_error\", \"param\": null, \"code\": null}}";
        http_respond(x, 500, "application/json", text, sizeof text - 1);
    }
    json_decref(root);
    buf_deinit(&body);
}

bool api_json_event(http_exchange *x, json_t *root) {
    buf event;
    buf_init(&event, MEM_API, DOCUMENT_BYTES_MAX);
    buf_append_cstr(&event, "data: ");
    bool is_sent = api_json_dump(&event, root);
    json_decref(root);
    buf_append_cstr(&event, "\n\n");
    is_sent = is_sent && !event.is_failed && http_stream_write(x, buf_cstr(&event), event.len);
    buf_deinit(&event);
    return is_sent;
}
