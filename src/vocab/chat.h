/* chat.h - a chat request becomes the prompt text its model was trained on.
 *
 * Owns the compiled chat template of a model and the variables a template expects (messages,
 * tools, bos_token, eos_token, add_generation_prompt, ...).
 *
 * Threads: read-only once created.
 */
#ifndef WEFT_VOCAB_CHAT_H
#define WEFT_VOCAB_CHAT_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

typedef struct chat chat;

/* bos and eos are the token texts ("" when there is none); copied. */
weft_status chat_create(chat **out, str template_source, str bos_text, str eos_text,
                        weft_error *err) WEFT_NODISCARD;
/* The template and tokens of a Hugging Face folder: chat_template.jinja, tokenizer_config.json. */
weft_status chat_create_from_folder(chat **out, const char *path, weft_error *err) WEFT_NODISCARD;
void chat_destroy(chat **c);

/* request_json: an object in OpenAI's shape: "messages" (required, non-empty array), "tools",
 * "add_generation_prompt" (default true), "continue_final_message", "chat_template_kwargs" (extra
 * variables). Other keys are ignored here: the API checks them. Message content may be a string,
 * null or an array of text parts (joined when the template wants a string). Appends the prompt. */
weft_status chat_apply(const chat *c, str request_json, buf *out, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_VOCAB_CHAT_H */
