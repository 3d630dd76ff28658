/* gate.c - a condition that on_ready waits for, on the engine's thread.
 */
#include "gate.h"

static void gate_init(gate *g) {
    *g = (gate){0};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->moved, NULL);
}

void gate_deinit(gate *g) {
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->moved);
}

static void gate_stop(void *user) {
    gate *g = user;
    pthread_mutex_lock(&g->lock);
    g->is_reached = true;
    pthread_cond_broadcast(&g->moved);
    while (!g->is_open) {
        pthread_cond_wait(&g->moved, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

void gate_wait(gate *g) {
    pthread_mutex_lock(&g->lock);
    while (!g->is_reached) {
        pthread_cond_wait(&g->moved, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

void gate_open(gate *g) {
    pthread_mutex_lock(&g->lock);
    g->is_open = true;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

weft_request *gate_submit(const answer_engine *e, gate *g, const weft_request_options *o) {
    weft_request_options gated = *o;
    gate_init(g);
    gated.on_ready = gate_stop;
    gated.user = g;
    return answer_submit(e, &gated);
}

weft_request *gate_stop_engine(const answer_engine *e, gate *g, uint32_t max_tokens) {
    static const int32_t prompt[] = {262, '1', '2', '3'};
    const weft_request_options o = answer_options(prompt, 4, max_tokens);
    weft_request *rq = gate_submit(e, g, &o);
    gate_wait(g);
    return rq;
}
