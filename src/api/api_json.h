/* api_json.h - jansson values out over HTTP.
 */
#ifndef WEFT_API_API_JSON_H
#define WEFT_API_API_JSON_H

#include <jansson.h>

#include "api/api_error.h"
#include "base/buf.h"
#include "http/http.h"

/* Text that may hold broken UTF-8 (a token's bytes): bad bytes become U+FFFD. */
json_t *api_json_text(const char *text, size_t len);

/* Appends text as the inside of a JSON string, as json_dumps would; bad bytes become U+FFFD. */
void api_json_escape(buf *out, str text);

/* "a string", "an object", ...; "missing" for NULL. */
const char *api_json_type(const json_t *v);

/* Appends root without white space; false when memory is out. */
bool api_json_dump(buf *out, const json_t *root);

/* {"error": {...}}; NULL when memory is out. */
json_t *api_json_error(const api_error *e);

/* Answers with root as application/json; takes root over. */
void api_json_respond(http_exchange *x, int http_status, json_t *root);

/* Writes "data: <root>\n\n" to a stream; takes root over. False when the client is gone. */
bool api_json_event(http_exchange *x, json_t *root);

#endif /* WEFT_API_API_JSON_H */
