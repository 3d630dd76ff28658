/* chat_loop.h - a conversation on the terminal.
 */
#ifndef WEFT_CLI_CHAT_LOOP_H
#define WEFT_CLI_CHAT_LOOP_H

#include "cli/session.h"

/* Reads lines and commands until /bye or end of input. */
weft_status chat_loop(session *s, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_CLI_CHAT_LOOP_H */
