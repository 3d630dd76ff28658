/* intake.c - the order in which a request may be refused, and its prompts.
 *
 *   JSON and fields (400) ─► model (404) ─► more choices than any queue holds (400)
 *     ─► the queue is full (429, or 400 when it could never fit) ─► template, tokeniser (400)
 *
 * The JSON tree goes as soon as the prompts are there: of a large body it is much larger, and
 * freeing its million values takes time that the event thread does not have.
 */
#include "api/intake.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static bool check_model(const intake *in, const char *model_id, api_error *e);
static bool check_choices(const intake *in, const weft_engine *en, api_error *e);
static bool check_queue(intake *in, const weft_engine *en, api_error *e);
static bool make_prompts(intake *in, const weft_engine *en, api_error *e);

bool intake_read(intake *in, openai_kind kind, str body, const char *model_id,
                 const weft_engine *en, api_error *e) {
    *in = (intake){0};
    const bool is_fine = openai_request_read(&in->request, kind, body, e) &&
                         check_model(in, model_id, e) && check_choices(in, en, e) &&
                         check_queue(in, en, e) && make_prompts(in, en, e);
    openai_request_forget_body(&in->request);
    return is_fine;
}

void intake_deinit(intake *in) {
    intake_forget_prompts(in);
    openai_request_deinit(&in->request);
}

uint32_t intake_prompt_tokens(const intake *in) {
    size_t n = 0;
    for (uint32_t p = 0; p < in->n_prompts; p++) {
        n += in->prompts[p].count;
    }
    return (uint32_t)n;
}

void intake_forget_prompts(intake *in) {
    for (uint32_t p = 0; p < in->n_prompts; p++) {
        weft_tokens_deinit(&in->prompts[p]);
    }
    mem_free(in->prompts);
    in->prompts = NULL;
    in->n_prompts = 0;
}

static bool check_model(const intake *in, const char *model_id, api_error *e) {
    char message[256];
    if (in->request.model == NULL || strcmp(in->request.model, model_id) == 0) {
        return true;
    }
    snprintf(message, sizeof message, "the model '%.100s' does not exist here, '%.100s' does",
             in->request.model, model_id);
    api_error_set(e, 404, "model_not_found", message);
    memcpy(e->param, "model", sizeof "model");
    return false;
}

/* What the queue can never hold is refused whatever the load. */
static bool check_choices(const intake *in, const weft_engine *en, api_error *e) {
    const uint32_t n_prompts = openai_request_prompt_count(&in->request);
    const uint32_t queue = weft_engine_info_now(en).queue;
    return n_prompts * in->request.n <= queue ||
           api_error_bad(e, "n", "%u prompts of 'n' = %u choices, the queue holds %u", n_prompts,
                         in->request.n, queue);
}

/* Refusing must be cheap under overload: few prompts are tokenised for a full queue. But one that
 * can never fit must not be told to come back. */
static bool check_queue(intake *in, const weft_engine *en, api_error *e) {
    const uint32_t queue = weft_engine_info_now(en).queue;
    uint32_t running = 0, waiting = 0;
    char message[128];
    weft_engine_load(en, &running, &waiting);
    if (waiting < queue) {
        return true;
    }
    if (!openai_request_fits(&in->request, en, e)) {
        in->is_too_long = e->code != NULL && strcmp(e->code, "context_length_exceeded") == 0;
        return false;
    }
    in->is_early = true;
    snprintf(message, sizeof message, "the queue is full: %u requests wait, it holds %u", waiting,
             queue);
    return api_error_full(e, en, message);
}

static bool make_prompts(intake *in, const weft_engine *en, api_error *e) {
    const uint32_t n = openai_request_prompt_count(&in->request);
    bool is_fine = true;
    in->prompts = mem_zalloc(MEM_API, n, sizeof *in->prompts);
    if (in->prompts == NULL) {
        return api_error_set(e, 500, NULL, "out of memory for a request");
    }
    in->n_prompts = n;
    for (uint32_t p = 0; p < n && is_fine; p++) {
        is_fine = openai_request_prompt(&in->request, p, en, &in->prompts[p], e);
    }
    return is_fine;
}
