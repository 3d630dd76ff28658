/* vocab_image.h - small vocabularies as GGUF files in memory, for tests and the fuzzer.
 *
 * Byte level ("gpt2"): tokens 0..255 are the bytes, then the results of VOCAB_IMAGE_MERGES in
 * order, then the special tokens below. SentencePiece ("llama"): <unk> <s> </s>, the bytes from 3
 * on, then texts with scores. Unigram ("t5"), WordPiece ("bert"), PLaMo 2
 * ("plamo2", bytes from 3 on as well) and RWKV ("rwkv"): a few words.
 */
#ifndef WEFT_TESTS_VOCAB_IMAGE_H
#define WEFT_TESTS_VOCAB_IMAGE_H

#include "gguf_image.h"
#include "vocab/vocab.h"

/* Byte level: numbers of the tokens behind the merges. */
#define VOCAB_IMAGE_IM_START 276 /* "<|im_start|>", control */
#define VOCAB_IMAGE_IM_END 277   /* "<|im_end|>", control, eos */
#define VOCAB_IMAGE_IM 278       /* "<|im", control: a prefix of the others */
#define VOCAB_IMAGE_TOOL 279     /* "<tool>", user-defined */
#define VOCAB_IMAGE_BPE_COUNT 280

/* What to put in besides the tokens. NULL and negative numbers leave the key out. */
typedef struct vocab_image_options {
    const char *pre;
    int adds_bos;
    int adds_space;
} vocab_image_options;

/* The tokens of the vocabularies; the caller adds keys and finishes. */
void vocab_image_bpe(gguf_image *g, const vocab_image_options *options);
void vocab_image_spm(gguf_image *g, const vocab_image_options *options);
void vocab_image_unigram(gguf_image *g, const vocab_image_options *options);
void vocab_image_wordpiece(gguf_image *g, const vocab_image_options *options);
void vocab_image_plamo2(gguf_image *g, const vocab_image_options *options);
void vocab_image_rwkv(gguf_image *g, const vocab_image_options *options);

/* A compiled normaliser: "A" becomes "a"; a tab and U+00A0 become a space. */
#define VOCAB_IMAGE_UNITS 0x800u
#define VOCAB_IMAGE_CHARSMAP_BYTES (4u + VOCAB_IMAGE_UNITS * 4u + 4u)
void vocab_image_charsmap(uint8_t out[VOCAB_IMAGE_CHARSMAP_BYTES]);

/* A vocabulary of what g holds; deinits g. Fails the program when it cannot be created. */
vocab *vocab_image_create(gguf_image *g);

#endif /* WEFT_TESTS_VOCAB_IMAGE_H */
