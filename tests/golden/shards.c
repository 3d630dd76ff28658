/* shards.c - a real model shared by two ranks: prints what they agree on, exits 1 when it is too
 * little.
 *
 *   shards MODEL.gguf TOKENS
 *
 * TOKENS: a file of 32-bit numbers, of which the first 256 are read. A sum that is cut and added up
 * again moves last bits, and with them some of the 8-bit codes that activations become. That is as
 * much as between two instruction sets, and it must be text: on random tokens Gemma 3 has a mean KL of
 * 0.006 to 0.011, by the tokens, and two instruction sets 0.009 to 0.075. On models of float32
 * weights nothing of the kind happens, and test_shard.c holds them to a ten thousandth.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/cpu.h"
#include "shards_checks.h"

#define RANKS 2u
#define TOKENS 256u
#define TAIL 128u
#define KL_MAX 0.005
#define TOP_MIN_PERCENT 90u

int main(int argc, char **argv) {
    int32_t tokens[TOKENS];
    FILE *f = argc == 3 ? fopen(argv[2], "rb") : NULL;
    if (f == NULL || fread(tokens, sizeof tokens[0], TOKENS, f) != TOKENS) {
        fprintf(stderr, "usage: shards MODEL.gguf TOKENS (of %u)\n", TOKENS);
        return 2;
    }
    fclose(f);
    weft_error err;
    shards_result r;
    const bits_config config = {.path = argv[1],
                                .n_threads = 1,
                                .cpu_flags = CPU_FLAGS_ALL,
                                .request = {.ctx = TOKENS,
                                            .seqs = 1,
                                            .batch_rows = TOKENS,
                                            .out_rows = TAIL,
                                            .kv_type = WEFT_DTYPE_F16}};
    const shards_prompt prompt = {tokens, TOKENS, 96, TAIL};
    if (shards_compare(&r, &config, RANKS, &prompt, &err) != WEFT_OK) {
        fprintf(stderr, "shards: %s\n", err.message);
        return 1;
    }
    const bool is_good =
        r.ranks_agree && r.kl_mean < KL_MAX && r.n_top_equal * 100 >= TOP_MIN_PERCENT * r.n_rows;
    printf("%-4s %u ranks, %u rows: KL %.2g, nmse %.2g, best token equal in %u, ranks %s\n",
           is_good ? "ok" : "FAIL", RANKS, r.n_rows, r.kl_mean, r.nmse, r.n_top_equal,
           r.ranks_agree ? "equal in every bit" : "differ");
    printf("packed weights: %" PRIu64 " bytes alone, at most %" PRIu64 " a rank\n",
           r.packed_bytes_whole, r.packed_bytes_max);
    return is_good ? 0 : 1;
}
