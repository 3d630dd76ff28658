/* seed_gguf.c - writes the seed corpus of fuzz_gguf into a directory: seed_gguf corpus/gguf
 *
 * One small file for each thing a GGUF file can have, so that the fuzzer starts behind the magic.
 * The files are in the tree; run this again after adding a case here.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gguf_image.h"

typedef void build_fn(gguf_image *g);

static void scalars(gguf_image *g) {
    static const meta_type ints[] = {META_U8,  META_I8,  META_U16, META_I16, META_U32,
                                     META_I32, META_U64, META_I64, META_BOOL};
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
        gguf_image_int(g, meta_type_name(ints[i]), ints[i], 1);
    }
    gguf_image_float(g, "f32", META_F32, 1e-5);
    gguf_image_float(g, "f64", META_F64, 10000);
    gguf_image_str(g, "general.architecture", "llama");
    gguf_image_int(g, "llama.block_count", META_U32, 2);
}

static void arrays(gguf_image *g) {
    static const char *const words[] = {"<s>", "", "a b"};
    static const int64_t numbers[] = {0, 1, -1};
    static const double doubles[] = {0.5, -2};
    gguf_image_strs(g, "tokenizer.ggml.tokens", words, 3);
    gguf_image_ints(g, "a8", META_U8, numbers, 3);
    gguf_image_ints(g, "a16", META_I16, numbers, 3);
    gguf_image_ints(g, "a32", META_I32, numbers, 3);
    gguf_image_ints(g, "a64", META_U64, numbers, 3);
    gguf_image_ints(g, "flags", META_BOOL, numbers, 2);
    gguf_image_floats(g, "tokenizer.ggml.scores", (const float[]){0, -1, -2}, 3);
    gguf_image_array(g, "doubles", META_F64, doubles, 2);
    gguf_image_strs(g, "none", words, 0);
}

static void tensors(gguf_image *g) {
    gguf_image_str(g, "general.architecture", "llama");
    gguf_image_align(g, 8);
    gguf_image_tensor(g, "token_embd.weight", WEFT_DTYPE_Q4_0, 2, (uint64_t[]){2, 32}, NULL);
    gguf_image_tensor(g, "output_norm.weight", WEFT_DTYPE_F32, 1, (uint64_t[]){4}, NULL);
    gguf_image_tensor(g, "blk.0.ffn_up.weight", WEFT_DTYPE_Q6_K, 3, (uint64_t[]){1, 1, 256}, NULL);
    gguf_image_tensor(g, "blk.0.attn_q.weight", WEFT_DTYPE_BF16, 4, (uint64_t[]){2, 1, 2, 3}, NULL);
}

static void old_version(gguf_image *g) {
    g->version = 2;
    gguf_image_str(g, "general.name", "two");
    gguf_image_tensor(g, "t", WEFT_DTYPE_I8, 1, (uint64_t[]){3}, NULL);
}

static void part_of_split(gguf_image *g) {
    gguf_image_split(g, 1, 3, 4);
    gguf_image_tensor(g, "t", WEFT_DTYPE_I8, 1, (uint64_t[]){3}, NULL);
}

static void repeated_names(gguf_image *g) {
    gguf_image_tensor(g, "t", WEFT_DTYPE_I8, 1, (uint64_t[]){3}, NULL);
    gguf_image_tensor(g, "t", WEFT_DTYPE_I8, 1, (uint64_t[]){3}, NULL);
}

static void nothing(gguf_image *g) { (void)g; }

static const struct {
    const char *name;
    build_fn *build;
} seeds[] = {
    {"scalars", scalars},
    {"arrays", arrays},
    {"tensors", tensors},
    {"old_version", old_version},
    {"part_of_split", part_of_split},
    {"repeated_names", repeated_names},
    {"nothing", nothing},
};

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: seed_gguf DIRECTORY\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        char path[4096];
        gguf_image g;
        gguf_image_init(&g, 3);
        seeds[i].build(&g);
        snprintf(path, sizeof(path), "%s/%s.gguf", argv[1], seeds[i].name);
        gguf_image_write(&g, path);
        gguf_image_deinit(&g);
    }
    return 0;
}
