/* json_reader.h - JSON as a row of events, pulled one by one from bytes in memory.
 *
 *   {"a": [1, "x"]}      OBJECT  KEY a  ARRAY  INTEGER 1  STRING x  ARRAY_END  OBJECT_END  END
 *
 * Why beside jansson: that builds a tree of allocations, 0.4 s for a tokenizer.json of 17 MB, where
 * the two big users of JSON (such files, long chat requests) keep most strings as they are and
 * drop the rest. This reader allocates nothing but room for strings with escapes, which come from
 * the caller's arena; other strings are views of the input. jansson stays for small documents and
 * for writing.
 *
 * Strict: RFC 8259 and no more, one value, nothing but white space around it, UTF-8 checked, a
 * surrogate only in a pair, numbers that fit (64 bits where there is no point and no exponent;
 * at most 127 characters). Members come as they stand: whether a key may come
 * twice is the caller's affair.
 *
 *   for (json_event e = json_reader_next(&r); e == JSON_EVENT_KEY; e = json_reader_next(&r)) ...
 *
 * After an error every next event is JSON_EVENT_ERROR, so that a caller may look once.
 *
 * Threads: none; one owner.
 */
#ifndef WEFT_TEXT_JSON_READER_H
#define WEFT_TEXT_JSON_READER_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

#define JSON_READER_DEPTH_MAX 512u /* of arrays and objects within each other */

typedef enum json_event {
    JSON_EVENT_ERROR, /* json_reader_status says what */
    JSON_EVENT_END,   /* of the document; again and again */
    JSON_EVENT_OBJECT,
    JSON_EVENT_OBJECT_END,
    JSON_EVENT_ARRAY,
    JSON_EVENT_ARRAY_END,
    JSON_EVENT_KEY,     /* text; its value follows */
    JSON_EVENT_STRING,  /* text */
    JSON_EVENT_INTEGER, /* integer, and real as well; text as spelled */
    JSON_EVENT_REAL,    /* real; text as spelled */
    JSON_EVENT_TRUE,
    JSON_EVENT_FALSE,
    JSON_EVENT_NULL,
} json_event;

typedef struct json_reader {
    /* of the event that came last */
    str text; /* in the input, or in the arena where there were escapes */
    int64_t integer;
    double real;
    size_t from; /* where it begins in the input */

    const char *data;
    const char *at;
    const char *end;
    arena *strings;
    json_event last;
    uint8_t state;
    bool is_skipping; /* texts are checked and not kept */
    uint32_t depth;
    uint64_t is_object[JSON_READER_DEPTH_MAX / 64]; /* a bit for each level */
    weft_error error;
    size_t error_at; /* offset in the input */
} json_reader;

/* text stays the caller's, and must last as long as what is taken from it. strings may be NULL
 * where texts are only skipped: one with escapes is an error then. */
void json_reader_init(json_reader *r, str text, arena *strings);

json_event json_reader_next(json_reader *r);

/* Reads to the end of what the last event began: the array or object, or the value of a key.
 * Returns it as it stands in the input, which another reader may read; {0} after an error. */
str json_reader_skip(json_reader *r);

/* WEFT_OK until an error; then it and "line 3, column 7: ...", counted from 1, in characters. */
weft_status json_reader_status(const json_reader *r, weft_error *err) WEFT_NODISCARD;

/* An error of the caller's about the last event, with its place; also the reader's from now on. */
weft_status json_reader_fail(json_reader *r, weft_error *err, weft_status code, const char *fmt,
                             ...) WEFT_PRINTF(4, 5);

/* "an object", "a key", ...: for messages that say what was found. */
const char *json_event_name(json_event event);

#endif /* WEFT_TEXT_JSON_READER_H */
