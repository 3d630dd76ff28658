/* openai_chat.h - what of a chat request the model is shown: messages, tools, documents.
 *
 * Checks every field down to the arguments of a tool call, so that a mistake is answered with its
 * path ("messages[2].tool_calls[0].function.arguments is a number, ..."), and makes the prompt
 * with the model's own template.
 *
 * Threads: none of its own; a body belongs to one.
 */
#ifndef WEFT_API_OPENAI_CHAT_H
#define WEFT_API_OPENAI_CHAT_H

#include <jansson.h>

#include "api/api_error.h"
#include "weft/engine.h"

/* Checks the body's messages, tools, tool_choice, documents, chat_template_kwargs and the two
 * flags of the prompt's end, whose types are known to be right. Removes nulls from messages:
 * null is as good as absent, but a template could tell. On failure *e has path, found, wanted. */
bool openai_chat_check(json_t *body, api_error *e);

/* The tokens of a checked body's prompt, appended to *out. What the template refuses is a 400
 * with the template's words. */
bool openai_chat_prompt(const json_t *body, const weft_engine *en, weft_tokens *out, api_error *e);

#endif /* WEFT_API_OPENAI_CHAT_H */
