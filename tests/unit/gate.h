/* gate.h - a request whose on_ready does not return: it stops the engine's thread at a known place,
 * so that what is submitted meanwhile surely waits.
 *
 *   gate g;  weft_request *rq = gate_stop_engine(&e, &g, 5);
 *   ...                    it stands still, with rq's first token told
 *   gate_open(&g);         it goes on
 *   gate_deinit(&g);       once rq has been released
 */
#ifndef WEFT_TESTS_GATE_H
#define WEFT_TESTS_GATE_H

#include <pthread.h>

#include "answer.h"

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool is_reached, is_open;
} gate;

/* Submits with these options; the engine's thread will stand still at the first token. */
weft_request *gate_submit(const answer_engine *e, gate *g, const weft_request_options *o);
/* Likewise with a short prompt; returns once the thread stands still. */
weft_request *gate_stop_engine(const answer_engine *e, gate *g, uint32_t max_tokens);
void gate_wait(gate *g);
void gate_open(gate *g);
void gate_deinit(gate *g);

#endif /* WEFT_TESTS_GATE_H */
