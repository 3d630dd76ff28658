/* turns_llama.c - llama.cpp's side of turns.py: generates until it is killed, and counts.
 *
 *   turns_llama MODEL.gguf COUNT [SEQUENCES [THREADS [REPACK]]]
 *
 * Built against llama.cpp, or with -DIK against ik_llama.cpp, whose REPACK (0) is its run-time
 * repacking; README.md has the lines. SEQUENCES (1) contexts of up to TURN_TOKENS grow together.
 */
#include <stdbool.h>

#include "llama.h"
#include "turns.h"

#define TURN_TOKENS 100

static void clear(struct llama_context *ctx) {
#ifdef IK
    llama_kv_cache_clear(ctx);
#else
    llama_memory_clear(llama_get_memory(ctx), true);
#endif
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 6) {
        fprintf(stderr, "usage: turns_llama MODEL.gguf COUNT [SEQUENCES [THREADS [REPACK]]]\n");
        return 2;
    }
    const int n = argc > 3 ? atoi(argv[3]) : 1, threads = argc > 4 ? atoi(argv[4]) : 0;
    if (n < 1) {
        fprintf(stderr, "turns_llama: %s sequences, one or more are possible\n", argv[3]);
        return 2;
    }
    struct llama_model_params mp = llama_model_default_params();
#ifdef IK
    mp.repack_tensors = argc > 5 && atoi(argv[5]) != 0;
    mp.use_mmap = !mp.repack_tensors;
#endif
    llama_backend_init();
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = (uint32_t)(256 * n);
    cp.n_seq_max = (uint32_t)n;
#ifndef IK
    cp.kv_unified = true;
#endif
    if (threads > 0) {
        cp.n_threads = cp.n_threads_batch = threads;
    }
    struct llama_model *model = llama_model_load_from_file(argv[1], mp);
    struct llama_context *ctx = model != NULL ? llama_init_from_model(model, cp) : NULL;
    if (ctx == NULL) {
        fprintf(stderr, "turns_llama: %s could not be loaded\n", argv[1]);
        return 1;
    }
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    turns_count *count = turns_open(argv[2]);
    for (;;) {
        clear(ctx);
        for (int pos = 0; pos < TURN_TOKENS; pos++) {
            batch.n_tokens = n;
            for (int s = 0; s < n; s++) {
                batch.token[s] = 5 + pos + s;
                batch.pos[s] = pos;
                batch.n_seq_id[s] = 1;
                batch.seq_id[s][0] = s;
                batch.logits[s] = true;
            }
            if (llama_decode(ctx, batch) != 0) {
                fprintf(stderr, "turns_llama: a step failed\n");
                return 1;
            }
            (void)llama_get_logits(ctx);
            turns_made(count, count->tokens + (uint64_t)n);
        }
    }
}
