/* intake.h - a body becomes prompts: read, checked, rendered by the model's template, tokenised.
 *
 * All of a request's work that grows with its body, apart from HTTP, so that it may be done on
 * another thread than the event thread.
 *
 * Threads: any; one an intake.
 */
#ifndef WEFT_API_INTAKE_H
#define WEFT_API_INTAKE_H

#include "api/openai_request.h"

typedef struct intake {
    openai_request request; /* without its body */
    weft_tokens *prompts;   /* [n_prompts] */
    uint32_t n_prompts;
    bool is_early;    /* refused for a full queue */
    bool is_too_long; /* it was full, and this would never have fitted */
} intake;

/* False with *e when the request is refused: for what is wrong with it, or else for a full queue,
 * which is asked before the prompts are tokenised. To be deinitialised either way. */
bool intake_read(intake *in, openai_kind kind, str body, const char *model_id,
                 const weft_engine *en, api_error *e);
void intake_deinit(intake *in); /* accepts a zeroed one */

uint32_t intake_prompt_tokens(const intake *in); /* of all prompts */

/* The prompts have been submitted, or never will be. */
void intake_forget_prompts(intake *in);

#endif /* WEFT_API_INTAKE_H */
