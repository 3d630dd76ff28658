/* journal.c - one walk over an entry's fields, two ways to write a field.
 *
 * A value of logfmt is bare when it has no space, quote, equals sign or control character, and else
 * quoted as JSON is. Addresses and messages hold what clients sent: neither format lets them end a
 * line or begin a field.
 */
#include "api/journal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/api_json.h"

#define LINE_BYTES_MAX 4096u

static const char *const endpoint_names[JOURNAL_ENDPOINTS] = {"chat", "completions", "other"};

const char *journal_endpoint_name(journal_endpoint e) { return endpoint_names[e]; }

/* ---- fields ---- */

typedef struct writer {
    buf *out;
    bool is_json;
} writer;

static void begin_field(writer *w, const char *name) {
    const bool is_first = w->out->len == 0 || (w->is_json && w->out->len == 1);
    if (w->is_json) {
        buf_printf(w->out, "%s\"%s\": ", is_first ? "" : ", ", name);
    } else {
        buf_printf(w->out, "%s%s=", is_first ? "" : " ", name);
    }
}

static bool is_bare(str text) {
    for (size_t i = 0; i < text.len; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F) {
            return false;
        }
    }
    return text.len > 0;
}

static void add_text(writer *w, const char *name, str text) {
    if (text.data == NULL) {
        return;
    }
    begin_field(w, name);
    if (!w->is_json && is_bare(text)) {
        buf_append_str(w->out, text);
    } else {
        buf_append_char(w->out, '"');
        api_json_escape(w->out, text);
        buf_append_char(w->out, '"');
    }
}

static void add_count(writer *w, const char *name, uint64_t n) {
    begin_field(w, name);
    buf_printf(w->out, "%llu", (unsigned long long)n);
}

static void add_ms(writer *w, const char *name, double ms) {
    if (ms >= 0) {
        begin_field(w, name);
        buf_printf(w->out, "%.3f", ms);
    }
}

static void add_work(writer *w, const journal_entry *e) {
    begin_field(w, "stream");
    buf_append_cstr(w->out, e->is_stream ? "true" : "false");
    add_count(w, "choices", e->choices);
    add_count(w, "prompt_tokens", e->prompt_tokens);
    add_count(w, "cached_tokens", e->cached_tokens);
    add_count(w, "completion_tokens", e->completion_tokens);
    add_text(w, "cache_miss", str_from_cstr(e->miss));
    if (e->miss != NULL) {
        add_count(w, "cache_miss_at", e->miss_at);
    }
    add_count(w, "preemptions", e->preemptions);
    add_ms(w, "queue_ms", e->queue_ms);
    add_ms(w, "prefill_ms", e->prefill_ms);
    add_ms(w, "decode_ms", e->decode_ms);
}

void journal_write_line(buf *out, journal_format format, const journal_entry *e, double unix_s) {
    writer w = {.out = out, .is_json = format == JOURNAL_JSON};
    if (w.is_json) {
        buf_append_char(out, '{');
    }
    begin_field(&w, "time");
    buf_printf(out, "%.3f", unix_s);
    add_text(&w, "event", STR_LIT("request"));
    add_text(&w, "id", str_from_cstr(e->id));
    add_text(&w, "client", e->client);
    add_text(&w, "endpoint", str_from_cstr(journal_endpoint_name(e->endpoint)));
    add_count(&w, "status", (uint64_t)e->status);
    add_text(&w, "finish", str_from_cstr(e->finish));
    if (e->choices > 0) {
        add_work(&w, e);
    }
    add_ms(&w, "total_ms", e->total_ms);
    add_text(&w, "error", str_from_cstr(e->error));
    if (w.is_json) {
        buf_append_char(out, '}');
    }
}

/* ---- counts ---- */

static void count(journal *j, journal_endpoint endpoint, int status) {
    uint32_t i = 0;
    while (i < j->n_statuses && j->statuses[i].status != status) {
        i++;
    }
    if (i == JOURNAL_STATUSES_MAX) {
        i--; /* the last place is for all others */
        j->statuses[i].status = 0;
    } else if (i == j->n_statuses) {
        j->statuses[i].status = status;
        j->n_statuses++;
    }
    j->statuses[i].counts[endpoint]++;
}

void journal_add(journal *j, const journal_entry *e) {
    struct timespec now;
    buf line;
    count(j, e->endpoint, e->status);
    if (j->format == JOURNAL_NONE || j->write == NULL) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    buf_init(&line, MEM_API, LINE_BYTES_MAX);
    journal_write_line(&line, j->format, e, (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
    if (!line.is_failed) {
        j->write(j->user, buf_cstr(&line));
    }
    buf_deinit(&line);
}
