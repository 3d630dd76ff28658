/* session.h - one user, one model, one conversation: what `weft run` drives, with or without chat.
 */
#ifndef WEFT_CLI_SESSION_H
#define WEFT_CLI_SESSION_H

#include <jansson.h>

#include "cli/cli.h"

typedef struct session {
    weft_runtime *rt;
    weft_engine *en;
    weft_request_options sampling; /* prompt fields unused */
    bool is_raw; /* the prompt goes to the model as it is, without the chat template */
    bool is_verbose;
    json_t *messages;  /* array of {"role", "content"} */
    uint64_t start_ns; /* of the process, for time to first token */
} session;

/* Loads the model; sampling and flags are the caller's to set before. */
weft_status session_open(session *s, const char *path, const cli_model_options *o,
                         weft_error *err) WEFT_NODISCARD;
void session_close(session *s);

/* Adds a message. */
weft_status session_say(session *s, const char *role, const char *content,
                        weft_error *err) WEFT_NODISCARD;

/* Answers the conversation so far: streams to stdout, adds the answer as a message. Ctrl-C stops
 * the answer, which stays in the conversation as far as it came. */
weft_status session_answer(session *s, weft_error *err) WEFT_NODISCARD;

/* Continues plain text. */
weft_status session_complete(session *s, const char *text, weft_error *err) WEFT_NODISCARD;

/* Planned and actual memory, to stderr. */
void session_print_memory(const session *s);

/* Ctrl-C sets a flag from now on; the flag is read and cleared by session_interrupted. */
void session_catch_interrupts(void);
bool session_interrupted(void);

#endif /* WEFT_CLI_SESSION_H */
