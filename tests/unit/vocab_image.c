/* vocab_image.c - vocabularies that are small enough to check by hand.
 *
 * The byte-level one merges "hello", " hello", " world", a few double letters, digits and an emoji
 * spread over two tokens. The SentencePiece one holds the same words with scores by which "▁hello"
 * wins over its parts, a user-defined run of line ends, and letters. The others hold a few words
 * each, chosen so that greedy search, best score and longest match differ.
 */
#include "vocab_image.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab_table.h"

/* \u0120 stands for the space, \u010A for the line end. */
static const char *const merges[] = {
    "h e",      "l l",  "he ll",         "hell o",        "\u0120 hello",
    "\u0120 w", "o r",  "\u0120w or",    "\u0120wor l",   "\u0120worl d",
    "1 2",      "12 3", "\u010A \u010A", "\u0120 \u0120", "a a",
    "aa aa",    "' s",  "\u00F0 \u0141", "\u013A \u0122", "t h",
};

typedef struct scored_token {
    const char *text;
    float score;
    int type;
} scored_token;

static const scored_token spm_tokens[] = {
    {"\u2581", -100, 1},
    {"h", -101, 1},
    {"e", -102, 1},
    {"l", -103, 1},
    {"o", -104, 1},
    {"w", -105, 1},
    {"r", -106, 1},
    {"d", -107, 1},
    {"he", -10, 1},
    {"ll", -11, 1},
    {"hell", -12, 1},
    {"hello", -13, 1},
    {"\u2581hello", -5, 1},
    {"\u2581h", -14, 1},
    {"\u2581w", -15, 1},
    {"or", -16, 1},
    {"\u2581wor", -17, 1},
    {"ld", -18, 1},
    {"\u2581world", -19, 1},
    {"\u2581\u2581", -20, 1},
    {"\n\n", 0, 4},
    {"<end_of_turn>", 0, 4},
    {"<start_of_turn>", 0, 3},
    {"<unused0>", 0, 5},
    {"</", -21, 1},
    {"s>", -22, 1},
    {"<", -108, 1},
    {"/", -109, 1},
    {"s", -110, 1},
    {">", -111, 1},
};

/* "ab" + "cd" scores better than "abc" + "d". */
static const scored_token unigram_tokens[] = {
    {"<pad>", 0, 3},      {"</s>", 0, 3},  {"<unk>", 0, 2},  {"\u2581", -3, 1},
    {"a", -5, 1},         {"b", -5, 1},    {"c", -5, 1},     {"d", -5, 1},
    {"ab", -4, 1},        {"abc", -3, 1},  {"cd", -1, 1},    {"\u2581ab", -2, 1},
    {"\u2581abc", -2, 1}, {"<tag>", 0, 4}, {"unused", 0, 5}, {"\u4E16", -6, 1},
};

/* "ab" + "c" costs what "a" + "bc" does. */
static const scored_token plamo2_tokens[] = {
    {"a", -3, 1}, {"b", -3, 1},  {"ab", -2, 1},     {"bc", -1, 1},
    {"c", -2, 1}, {" a", -1, 1}, {"\u4E16", -4, 1}, {"<|tool|>", -1, 4},
};

static const scored_token wordpiece_tokens[] = {
    {"[PAD]", 0, 3},
    {"[UNK]", 0, 3},
    {"[CLS]", 0, 3},
    {"[SEP]", 0, 3},
    {"\u2581un", 0, 1},
    {"\u2581unaf", 0, 1},
    {"aff", 0, 1},
    {"able", 0, 1},
    {"f", 0, 1},
    {"\u2581,", 0, 1},
    {"\u2581cafe", 0, 1},
    {"\u2581\u4E16", 0, 1},
    {"\u2581\u2581", 0, 1},
    {"\u2581", 0, 1},
    {"\u2581a", 0, 1},
    {"a", 0, 1},
    {"\u2581Caf\u00E9", 0, 1},
};

static const scored_token rwkv_tokens[] = {
    {"<s>", 0, 3}, {"a", 0, 1},          {"ab", 0, 1},    {"abcd", 0, 1}, {"c", 0, 1},
    {"\\n", 0, 1}, {"\\xe4\\xb8", 0, 1}, {"\\x96", 0, 1}, {"\\\\", 0, 1}, {"\\'", 0, 1},
};

static void add_scored(gguf_image *g, const char *model, const scored_token *scored, size_t n);
static void add_with_bytes(gguf_image *g, const char *model, const scored_token *scored,
                           size_t count);
static void put_u32(uint8_t *out, uint32_t value);
static void add_options(gguf_image *g, const vocab_image_options *options);

void vocab_image_bpe(gguf_image *g, const vocab_image_options *options) {
    static char texts[VOCAB_IMAGE_BPE_COUNT][24];
    const char *tokens[VOCAB_IMAGE_BPE_COUNT];
    int64_t types[VOCAB_IMAGE_BPE_COUNT];
    size_t n = 0;
    for (unsigned byte = 0; byte < 256; byte++, n++) {
        texts[n][utf8_encode(texts[n], vocab_byte_to_cp((uint8_t)byte))] = '\0';
    }
    for (size_t i = 0; i < WEFT_LEN(merges); i++, n++) {
        const char *space = strchr(merges[i] + 1, ' ');
        (void)snprintf(texts[n], sizeof texts[n], "%.*s%s", (int)(space - merges[i]), merges[i],
                       space + 1);
    }
    static const char *const special[] = {"<|im_start|>", "<|im_end|>", "<|im", "<tool>"};
    WEFT_ASSERT(n == VOCAB_IMAGE_IM_START);
    for (size_t i = 0; i < WEFT_LEN(special); i++, n++) {
        (void)snprintf(texts[n], sizeof texts[n], "%s", special[i]);
    }
    WEFT_ASSERT(n == VOCAB_IMAGE_BPE_COUNT);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = texts[i];
        types[i] = i < VOCAB_IMAGE_IM_START ? 1 : i == VOCAB_IMAGE_TOOL ? 4 : 3;
    }
    gguf_image_str(g, "tokenizer.ggml.model", "gpt2");
    gguf_image_strs(g, "tokenizer.ggml.tokens", tokens, n);
    gguf_image_ints(g, "tokenizer.ggml.token_type", META_I32, types, n);
    gguf_image_strs(g, "tokenizer.ggml.merges", merges, WEFT_LEN(merges));
    gguf_image_int(g, "tokenizer.ggml.bos_token_id", META_U32, VOCAB_IMAGE_IM_START);
    gguf_image_int(g, "tokenizer.ggml.eos_token_id", META_U32, VOCAB_IMAGE_IM_END);
    add_options(g, options);
}

void vocab_image_spm(gguf_image *g, const vocab_image_options *options) {
    add_with_bytes(g, "llama", spm_tokens, WEFT_LEN(spm_tokens));
    add_options(g, options);
}

void vocab_image_plamo2(gguf_image *g, const vocab_image_options *options) {
    add_with_bytes(g, "plamo2", plamo2_tokens, WEFT_LEN(plamo2_tokens));
    add_options(g, options);
}

/* Three special tokens, the bytes, the scored ones. */
static void add_with_bytes(gguf_image *g, const char *model, const scored_token *scored,
                           size_t count) {
    enum { COUNT = 3 + 256 + WEFT_LEN(spm_tokens) };
    WEFT_ASSERT(count <= WEFT_LEN(spm_tokens));
    static char bytes[256][8];
    const char *tokens[COUNT] = {"<unk>", "<s>", "</s>"};
    int64_t types[COUNT] = {2, 3, 3};
    float scores[COUNT] = {0};
    size_t n = 3;
    for (unsigned byte = 0; byte < 256; byte++, n++) {
        (void)snprintf(bytes[byte], sizeof bytes[byte], "<0x%02X>", byte);
        tokens[n] = bytes[byte];
        types[n] = 6;
    }
    for (size_t i = 0; i < count; i++, n++) {
        tokens[n] = scored[i].text;
        types[n] = scored[i].type;
        scores[n] = scored[i].score;
    }
    gguf_image_str(g, "tokenizer.ggml.model", model);
    gguf_image_strs(g, "tokenizer.ggml.tokens", tokens, n);
    gguf_image_ints(g, "tokenizer.ggml.token_type", META_I32, types, n);
    gguf_image_floats(g, "tokenizer.ggml.scores", scores, n);
}

void vocab_image_unigram(gguf_image *g, const vocab_image_options *options) {
    add_scored(g, "t5", unigram_tokens, WEFT_LEN(unigram_tokens));
    add_options(g, options);
}

void vocab_image_wordpiece(gguf_image *g, const vocab_image_options *options) {
    add_scored(g, "bert", wordpiece_tokens, WEFT_LEN(wordpiece_tokens));
    gguf_image_int(g, "tokenizer.ggml.unknown_token_id", META_U32, 1);
    gguf_image_int(g, "tokenizer.ggml.cls_token_id", META_U32, 2);
    gguf_image_int(g, "tokenizer.ggml.seperator_token_id", META_U32, 3);
    add_options(g, options);
}

void vocab_image_rwkv(gguf_image *g, const vocab_image_options *options) {
    add_scored(g, "rwkv", rwkv_tokens, WEFT_LEN(rwkv_tokens));
    add_options(g, options);
}

void vocab_image_charsmap(uint8_t out[VOCAB_IMAGE_CHARSMAP_BYTES]) {
    const uint32_t is_end = 1u << 8;
    const uint32_t is_value = 1u << 31;
    memset(out, 0, VOCAB_IMAGE_CHARSMAP_BYTES);
    put_u32(out, VOCAB_IMAGE_UNITS * 4);
    uint8_t *units = out + 4;
    put_u32(units, 0x100u << 10);
    put_u32(units + 4 * 0x141, 0x400u << 10 | is_end | 'A');
    put_u32(units + 4 * 0x541, is_value | 0);
    put_u32(units + 4 * 0x109, 0x400u << 10 | is_end | '\t');
    put_u32(units + 4 * 0x509, is_value | 2);
    put_u32(units + 4 * 0x1C2, 0x200u << 10 | 0xC2);
    put_u32(units + 4 * 0x362, 0x400u << 10 | is_end | 0xA0);
    put_u32(units + 4 * 0x762, is_value | 2);
    memcpy(units + 4 * (size_t)VOCAB_IMAGE_UNITS, "a\0 ", 4);
}

vocab *vocab_image_create(gguf_image *g) {
    size_t len;
    uint8_t *bytes = gguf_image_finish(g, &len);
    gguf_image_deinit(g);
    weights *w = NULL;
    vocab *v = NULL;
    weft_error err;
    weft_status status = weights_open_memory(&w, bytes, len, "vocabulary", &err);
    if (status == WEFT_OK) {
        status = vocab_create(&v, w, &err);
    }
    if (status != WEFT_OK) {
        (void)fprintf(stderr, "vocabulary: %s\n", err.message);
    }
    WEFT_ASSERT(status == WEFT_OK);
    weights_release(&w);
    mem_free(bytes);
    return v;
}

static void add_scored(gguf_image *g, const char *model, const scored_token *scored, size_t n) {
    enum { TOKENS_MAX = 32 };
    const char *tokens[TOKENS_MAX];
    int64_t types[TOKENS_MAX];
    float scores[TOKENS_MAX];
    WEFT_ASSERT(n <= TOKENS_MAX);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = scored[i].text;
        types[i] = scored[i].type;
        scores[i] = scored[i].score;
    }
    gguf_image_str(g, "tokenizer.ggml.model", model);
    gguf_image_strs(g, "tokenizer.ggml.tokens", tokens, n);
    gguf_image_ints(g, "tokenizer.ggml.token_type", META_I32, types, n);
    gguf_image_floats(g, "tokenizer.ggml.scores", scores, n);
}

static void put_u32(uint8_t *out, uint32_t value) {
    for (size_t i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static void add_options(gguf_image *g, const vocab_image_options *options) {
    if (options->pre != NULL) {
        gguf_image_str(g, "tokenizer.ggml.pre", options->pre);
    }
    if (options->adds_bos >= 0) {
        gguf_image_int(g, "tokenizer.ggml.add_bos_token", META_BOOL, options->adds_bos);
    }
    if (options->adds_space >= 0) {
        gguf_image_int(g, "tokenizer.ggml.add_space_prefix", META_BOOL, options->adds_space);
    }
}
