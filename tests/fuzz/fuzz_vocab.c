/* fuzz_vocab.c - any text through a small vocabulary and back.
 *
 * The first byte chooses the vocabulary (one for each pre-tokeniser, one for each other kind of a
 * GGUF, one for each tokenizer.json of the other corpus), the second the flags, the rest is the
 * text. Byte-level text must come back byte for byte: U+FFFD where it is not UTF-8, exactly what
 * decoding the text at once gives. SentencePiece is compared on text that is UTF-8 (it replaces what
 * is not when it encodes) and holds no U+2581, which it takes for a space. Of every vocabulary, a
 * second run must give the same tokens, all tokens must be its own, and decoding any run of tokens
 * must give UTF-8.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/nfc.h"
#include "text/utf8.h"
#include "vocab/vocab_pretok.h"
#include "vocab_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef enum promise { COMES_BACK, COMES_BACK_PLAIN, IS_REPEATABLE } promise;

enum { VOCABS_MAX = 128 };
static vocab *vocabs[VOCABS_MAX];
static promise promises[VOCABS_MAX];
static size_t vocab_count;

/* Those whose tokens are plain text do not have all bytes, and some drop white space. */
static bool is_byte_level(const char *name) {
    vocab_pretok *pretok = NULL;
    WEFT_ASSERT(vocab_pretok_create(&pretok, str_from_cstr(name), NULL) == WEFT_OK);
    const uint32_t plain = VOCAB_PRETOK_METASPACE | VOCAB_PRETOK_WHITE_SPACE;
    const bool is_plain = (vocab_pretok_flags_of(pretok) & plain) != 0;
    vocab_pretok_destroy(&pretok);
    return !is_plain;
}

static void add(vocab *v, promise what) {
    WEFT_ASSERT(vocab_count < VOCABS_MAX);
    promises[vocab_count] = what;
    vocabs[vocab_count++] = v;
}

static void create_vocabs(void) {
    gguf_image g;
    const char *name;
    for (size_t i = 0; (name = vocab_pretok_name_at(i)) != NULL; i++) {
        gguf_image_init(&g, 3);
        vocab_image_bpe(&g, &(vocab_image_options){name, 0, -1});
        add(vocab_image_create(&g), is_byte_level(name) ? COMES_BACK : IS_REPEATABLE);
    }
    const vocab_image_options plain = {NULL, 0, 0};
    const vocab_image_options spaced = {NULL, -1, -1};
    gguf_image_init(&g, 3);
    vocab_image_spm(&g, &plain);
    add(vocab_image_create(&g), COMES_BACK_PLAIN);
    gguf_image_init(&g, 3);
    vocab_image_spm(&g, &spaced);
    add(vocab_image_create(&g), IS_REPEATABLE);
    static void (*const others[])(gguf_image *, const vocab_image_options *) = {
        vocab_image_unigram, vocab_image_wordpiece, vocab_image_plamo2, vocab_image_rwkv};
    for (size_t i = 0; i < WEFT_LEN(others); i++) {
        gguf_image_init(&g, 3);
        others[i](&g, &spaced);
        add(vocab_image_create(&g), IS_REPEATABLE);
    }
    uint8_t map[VOCAB_IMAGE_CHARSMAP_BYTES];
    vocab_image_charsmap(map);
    gguf_image_init(&g, 3);
    vocab_image_unigram(&g, &plain);
    gguf_image_array(&g, "tokenizer.ggml.precompiled_charsmap", META_U8, map, sizeof map);
    gguf_image_int(&g, "tokenizer.ggml.remove_extra_whitespaces", META_BOOL, 1);
    add(vocab_image_create(&g), IS_REPEATABLE);
    static const char *const files[] = {"bpe_bytes", "bpe_metaspace", "unigram", "wordlevel",
                                        "wordpiece"};
    for (size_t i = 0; i < WEFT_LEN(files); i++) {
        char path[4096];
        (void)snprintf(path, sizeof path, TESTS_DIR "/fuzz/corpus/tokenizer_json/%s", files[i]);
        char *text = NULL; /* the JSON, a NUL byte, a text */
        size_t len = 0;
        vocab *v = NULL;
        WEFT_ASSERT(os_read_file(&text, &len, path, 1u << 20, NULL) == WEFT_OK);
        const str json = str_from_cstr(text);
        WEFT_ASSERT(vocab_create_from_json_text(&v, json, path, NULL) == WEFT_OK);
        mem_free(text);
        add(v, IS_REPEATABLE);
    }
}

static void decode(const vocab *v, const int32_t *ids, size_t count, buf *out) {
    vocab_decoder d;
    vocab_decoder_init(&d, v, true);
    for (size_t i = 0; i < count; i++) {
        vocab_decoder_push(&d, ids[i], out);
    }
    vocab_decoder_flush(&d, out);
    vocab_decoder_deinit(&d);
    WEFT_ASSERT(utf8_is_valid(buf_view(out)));
}

/* The text with each malformed subpart replaced. */
static void replace_malformed(str text, buf *out) {
    for (size_t at = 0, n = 0; at < text.len; at += n) {
        const str rest = str_slice(text, at, text.len);
        if (utf8_decode(rest, &n) == UTF8_INVALID) {
            buf_append_cstr(out, "\xEF\xBF\xBD");
        } else {
            buf_append(out, rest.data, n);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (vocab_count == 0) {
        create_vocabs();
    }
    if (len < 3) {
        return 0;
    }
    const vocab *v = vocabs[data[0] % vocab_count];
    const promise what = promises[data[0] % vocab_count];
    const uint32_t flags = data[1] % 2 == 0 ? 0 : VOCAB_PARSE_SPECIAL;
    const str text = str_from((const char *)data + 2, len - 2);
    vocab_ids ids = {0};
    vocab_ids again = {0};
    WEFT_ASSERT(vocab_encode(v, text, flags, &ids, NULL) == WEFT_OK);
    WEFT_ASSERT(vocab_encode(v, text, flags, &again, NULL) == WEFT_OK);
    WEFT_ASSERT(ids.count == again.count);
    WEFT_ASSERT(ids.count == 0 || memcmp(ids.ids, again.ids, ids.count * sizeof *ids.ids) == 0);

    for (size_t i = 0; i < ids.count; i++) {
        WEFT_ASSERT(ids.ids[i] >= 0 && (uint32_t)ids.ids[i] < vocab_size(v));
    }
    buf out;
    buf want;
    buf_init(&out, MEM_TEST, 1u << 24);
    buf_init(&want, MEM_TEST, 1u << 24);
    decode(v, ids.ids, ids.count, &out);
    replace_malformed(text, &want);
    const bool is_plain = utf8_is_valid(text) && str_find(text, STR_LIT("\u2581"), 0) == SIZE_MAX;
    /* Some byte-level vocabularies normalise. */
    if ((what == COMES_BACK && !nfc_may_change(text)) || (what == COMES_BACK_PLAIN && is_plain)) {
        WEFT_ASSERT(str_eq(buf_view(&out), buf_view(&want)));
    }
    buf_clear(&out);
    if (ids.count > 0) {
        decode(v, ids.ids + ids.count / 3, ids.count / 2, &out);
    }
    buf_deinit(&out);
    buf_deinit(&want);
    vocab_ids_deinit(&ids);
    vocab_ids_deinit(&again);
    return 0;
}
