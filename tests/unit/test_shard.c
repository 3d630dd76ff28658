/* test_shard.c - every value of a model belongs to the ranks it should, and together they find what
 * one finds alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "plan/shard.h"
#include "shards_checks.h"

/* SmolLM2's heads, and some more room for ranks. */
static geometry geometry_of(uint32_t n_heads, uint32_t n_kv_heads, uint32_t n_ff) {
    return (geometry){.n_layers = 1,
                      .n_embd = 576,
                      .n_ff = n_ff,
                      .n_vocab = 100,
                      .n_heads = n_heads,
                      .n_kv_heads = n_kv_heads,
                      .k_dim = 64,
                      .v_dim = 32,
                      .n_groups = 1,
                      .groups[0] = {.n_layers = 1, .n_kv_heads = n_kv_heads}};
}

static geometry share(const geometry *whole, uint32_t rank, uint32_t size) {
    geometry mine;
    assert_int_equal(shard_geometry(&mine, whole, (slice_rank){rank, size}, NULL), WEFT_OK);
    return mine;
}

static shard_part part_of(const geometry *whole, const char *name, uint32_t rank, uint32_t size) {
    return shard_of(whole, str_from_cstr(name), (slice_rank){rank, size});
}

static void query_heads_stay_with_their_kv_head(void **state) {
    (void)state;
    const geometry whole = geometry_of(9, 3, 1536);
    const geometry first = share(&whole, 0, 2), second = share(&whole, 1, 2);
    assert_int_equal(first.n_heads, 6);
    assert_int_equal(first.n_kv_heads, 2);
    assert_int_equal(first.groups[0].n_kv_heads, 2);
    assert_int_equal(second.n_heads, 3);
    assert_int_equal(second.n_kv_heads, 1);
    assert_int_equal(second.n_embd, 576);
    const shard_part q = part_of(&whole, "blk.0.attn_q.weight", 1, 2);
    assert_int_equal(q.cut, SHARD_ROWS);
    assert_int_equal(q.part.from, 6 * 64);
    assert_int_equal(q.part.count, 3 * 64);
    const shard_part v = part_of(&whole, "blk.11.attn_v.weight", 1, 2);
    assert_int_equal(v.part.from, 2 * 32);
    assert_int_equal(v.part.count, 32);
    const shard_part o = part_of(&whole, "blk.0.attn_output.weight", 1, 2);
    assert_int_equal(o.cut, SHARD_COLS);
    assert_int_equal(o.part.from, 6 * 32);
    assert_int_equal(o.part.count, 3 * 32);
}

static void ranks_beyond_the_kv_heads_keep_copies(void **state) {
    (void)state;
    const geometry whole = geometry_of(8, 2, 1024);
    for (uint32_t rank = 0; rank < 4; rank++) {
        const geometry mine = share(&whole, rank, 4);
        assert_int_equal(mine.n_heads, 2);
        assert_int_equal(mine.n_kv_heads, 1);
        const shard_part k = part_of(&whole, "blk.0.attn_k.weight", rank, 4);
        assert_int_equal(k.part.from, rank / 2 * 64); /* heads 0-3 read KV head 0 */
        assert_int_equal(k.part.count, 64);
        assert_int_equal(part_of(&whole, "blk.0.attn_q.weight", rank, 4).part.from, rank * 2 * 64);
    }
}

static void what_cannot_be_shared_is_refused_with_numbers(void **state) {
    (void)state;
    weft_error err;
    geometry mine;
    const geometry heads = geometry_of(9, 3, 1536);
    assert_int_equal(shard_geometry(&mine, &heads, (slice_rank){0, 4}, &err), WEFT_UNSUPPORTED);
    assert_string_equal(err.message,
                        "9 heads on 3 KV heads cannot be shared by 4 ranks: wanted a number of "
                        "ranks that is at most 3, or a multiple of it that divides 9");
    const geometry ff = geometry_of(16, 16, 512);
    assert_int_equal(shard_geometry(&mine, &ff, (slice_rank){2, 3}, &err), WEFT_UNSUPPORTED);
    assert_string_equal(err.message, "a feed-forward of 512 cannot be shared by 3 ranks: cuts fall "
                                     "on blocks of 256");
}

static void what_is_in_no_layer_stays_whole(void **state) {
    (void)state;
    const geometry whole = geometry_of(9, 3, 1536);
    assert_int_equal(part_of(&whole, "token_embd.weight", 1, 2).cut, SHARD_WHOLE);
    assert_int_equal(part_of(&whole, "blk.0.attn_norm.weight", 1, 2).cut, SHARD_WHOLE);
    assert_int_equal(part_of(&whole, "attn_q.weight", 1, 2).cut, SHARD_WHOLE);
    assert_int_equal(part_of(&whole, "blk.0.attn_q.weight", 0, 1).cut, SHARD_WHOLE);
    assert_int_equal(part_of(&whole, "blk.0.ffn_down.bias", 1, 2).cut, SHARD_FIRST);
}

static weights_tensor tensor_named(const char *name, weft_dtype dtype, uint64_t rows, uint64_t cols,
                                   const uint8_t *data) {
    return (weights_tensor){.name = str_from_cstr(name),
                            .dtype = dtype,
                            .n_dims = rows != 0 ? 2 : 1,
                            .dims = {rows != 0 ? rows : cols, rows != 0 ? cols : 1, 1, 1},
                            .n_elements = (rows != 0 ? rows : 1) * cols,
                            .data = data};
}

/* Every byte of a tensor is in one part, at its place. */
static void tensors_are_cut_without_loss(void **state) {
    (void)state;
    static const uint8_t bytes[576 * 1536];
    const geometry whole = geometry_of(9, 3, 1536);
    const weights_tensor up =
        tensor_named("blk.0.ffn_up.weight", WEFT_DTYPE_Q8_0, 1536, 576, bytes);
    const weights_tensor down =
        tensor_named("blk.0.ffn_down.weight", WEFT_DTYPE_Q8_0, 576, 1536, bytes);
    const weights_tensor bias = tensor_named("blk.0.ffn_up.bias", WEFT_DTYPE_F32, 0, 1536, bytes);
    uint64_t rows = 0, cols = 0, elements = 0;
    for (uint32_t rank = 0; rank < 4; rank++) {
        const slice_rank r = {rank, 4};
        weights_tensor mine;
        assert_int_equal(shard_tensor(&mine, &up, &whole, r, NULL), WEFT_OK);
        assert_ptr_equal(mine.data, bytes + rows * 576 / 32 * 34);
        assert_int_equal(mine.dims[1], 576);
        rows += mine.dims[0];
        assert_int_equal(shard_tensor(&mine, &down, &whole, r, NULL), WEFT_OK);
        assert_ptr_equal(mine.data, bytes + cols / 32 * 34);
        assert_int_equal(mine.dims[0], 576);
        assert_int_equal(mine.n_bytes, 576 * mine.dims[1] / 32 * 34);
        cols += mine.dims[1];
        assert_int_equal(shard_tensor(&mine, &bias, &whole, r, NULL), WEFT_OK);
        assert_ptr_equal(mine.data, bytes + elements * 4);
        elements += mine.n_elements;
    }
    assert_int_equal(rows, 1536);
    assert_int_equal(cols, 1536);
    assert_int_equal(elements, 1536);
}

static void what_is_added_once_belongs_to_rank_0(void **state) {
    (void)state;
    const geometry whole = geometry_of(9, 3, 1536);
    const weights_tensor bias = tensor_named("blk.0.ffn_down.bias", WEFT_DTYPE_F32, 0, 576, NULL);
    weights_tensor mine;
    assert_int_equal(shard_tensor(&mine, &bias, &whole, (slice_rank){0, 2}, NULL), WEFT_OK);
    assert_int_equal(mine.n_elements, 576);
    assert_int_equal(shard_tensor(&mine, &bias, &whole, (slice_rank){1, 2}, NULL), WEFT_OK);
    assert_int_equal(mine.n_elements, 0);
    assert_int_equal(mine.n_bytes, 0);
}

static void a_cut_inside_a_block_is_refused(void **state) {
    (void)state;
    weft_error err;
    weights_tensor mine;
    const geometry whole = geometry_of(16, 16, 512); /* v_dim is 32: eight heads a block of 256 */
    const weights_tensor o =
        tensor_named("blk.0.attn_output.weight", WEFT_DTYPE_Q4_K, 576, 512, NULL);
    assert_int_equal(shard_tensor(&mine, &o, &whole, (slice_rank){0, 2}, &err), WEFT_OK);
    assert_int_equal(shard_tensor(&mine, &o, &whole, (slice_rank){1, 4}, &err), WEFT_UNSUPPORTED);
    assert_string_equal(err.message,
                        "tensor 'blk.0.attn_output.weight' of type Q4_K has 512 columns: rank 1 of "
                        "4 wants 128 from 128 on, which is no cut between blocks of 256");
    const weights_tensor narrow =
        tensor_named("blk.0.attn_output.weight", WEFT_DTYPE_Q4_K, 576, 256, NULL);
    assert_int_equal(shard_tensor(&mine, &narrow, &whole, (slice_rank){1, 2}, &err), WEFT_FORMAT);
}

static void expect_same_logits(const char *name, uint32_t size, bool is_deferred) {
    enum { TOKENS = 96, TAIL = 80 };
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.gguf", TINY_MODELS_DIR, name);
    const bits_config c = {.path = path,
                           .n_threads = 2,
                           .cpu_flags = CPU_FLAGS_ALL,
                           .is_deferred = is_deferred,
                           .request = {.ctx = TOKENS,
                                       .seqs = 1,
                                       .batch_rows = TOKENS,
                                       .out_rows = TAIL,
                                       .kv_type = WEFT_DTYPE_F32}};
    shards_result r;
    weft_error err = {0};
    const shards_prompt prompt = {NULL, TOKENS, 33, TAIL};
    if (shards_compare(&r, &c, size, &prompt, &err) != WEFT_OK) {
        fail_msg("%s by %u: %s", name, size, err.message);
    }
    assert_true(r.ranks_agree);
    assert_int_equal(r.n_top_equal, TAIL);
    assert_true(r.nmse < 1e-10); /* float32 weights: only the order of additions differs */
    assert_true(r.packed_bytes_max < r.packed_bytes_whole);
}

static void ranks_find_what_one_finds(void **state) {
    (void)state;
    expect_same_logits("llama_gqa", 2, false);
    expect_same_logits("llama_bias", 2, false); /* biases of every kind of cut */
    expect_same_logits("llama_mha", 2, false);  /* three heads: one rank has two */
    expect_same_logits("llama_tied", 2, false); /* one KV head: both have it */
    expect_same_logits("gemma3", 2, false);
    expect_same_logits("llama_gqa", 2, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_heads_stay_with_their_kv_head),
        cmocka_unit_test(ranks_beyond_the_kv_heads_keep_copies),
        cmocka_unit_test(what_cannot_be_shared_is_refused_with_numbers),
        cmocka_unit_test(what_is_in_no_layer_stays_whole),
        cmocka_unit_test(tensors_are_cut_without_loss),
        cmocka_unit_test(what_is_added_once_belongs_to_rank_0),
        cmocka_unit_test(a_cut_inside_a_block_is_refused),
        cmocka_unit_test(ranks_find_what_one_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
