/* vocab.h - text to token ids and back, as the model was trained to see it.
 *
 *   text ─► split at special tokens ─► (normalise) ─► pre-tokenise ─► merge or search ─► ids
 *   ids  ─► pieces ─► bytes ─► decoder holds back half characters ─► text
 *
 * vocab.c picks the tokeniser by the file's metadata; vocab_bpe.c (byte-level BPE), vocab_spm.c and
 * vocab_unigram.c (SentencePiece), vocab_wordpiece.c (BERT) and vocab_rwkv.c do the work.
 *
 * Threads: a vocab is read-only once created; encode allocates its own scratch and may run on
 * many threads at once. A decoder belongs to one stream.
 */
#ifndef WEFT_VOCAB_VOCAB_H
#define WEFT_VOCAB_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "text/utf8_mender.h"
#include "weights/weights.h"

#define VOCAB_SIZE_MAX 4000000u
#define VOCAB_TOKEN_BYTES_MAX 65535u
#define VOCAB_TEXT_BYTES_MAX (256u << 20) /* of one encode */
#define VOCAB_NONE (-1)

typedef struct vocab vocab;

/* Reads the tokenizer.* metadata. Copies what it keeps: the weights may be released. Unknown
 * models and pre-tokenisers are refused by name. */
weft_status vocab_create(vocab **out, const weights *w, weft_error *err) WEFT_NODISCARD;
/* The same from a tokenizer.json of Hugging Face. Steps of unknown kinds are refused by name. */
weft_status vocab_create_from_json(vocab **out, const char *path, weft_error *err) WEFT_NODISCARD;
/* The same from the file's text. name is used in messages. */
weft_status vocab_create_from_json_text(vocab **out, str text, const char *name,
                                        weft_error *err) WEFT_NODISCARD;
void vocab_destroy(vocab **v);

uint32_t vocab_size(const vocab *v);
const char *vocab_model(const vocab *v); /* "gpt2", "llama", ... */

/* VOCAB_NONE when the model has none. */
int32_t vocab_bos(const vocab *v);
int32_t vocab_eos(const vocab *v);
/* True for every token that ends an answer: eos, eot, eom and the like. */
bool vocab_is_end(const vocab *v, int32_t id);
/* Control tokens are not shown as text. */
bool vocab_is_control(const vocab *v, int32_t id);
/* The text of a token as stored in the file ("<|im_end|>"), borrowed. Empty when out of range. */
str vocab_token_text(const vocab *v, int32_t id);
/* The bytes a token stands for, perhaps part of a character; borrowed. Empty when out of range. */
str vocab_token_bytes(const vocab *v, int32_t id);
/* The id of a token by that text; VOCAB_NONE when absent. */
int32_t vocab_find(const vocab *v, str text);

typedef struct vocab_ids {
    int32_t *ids; /* mem_free by vocab_ids_deinit */
    size_t count;
    size_t capacity;
} vocab_ids;

void vocab_ids_deinit(vocab_ids *ids);
/* Appends one id; false when memory is out. */
bool vocab_ids_push(vocab_ids *ids, int32_t id);

typedef enum vocab_encode_flags {
    VOCAB_ADD_SPECIAL = 1,   /* BOS (and EOS) where the model says so */
    VOCAB_PARSE_SPECIAL = 2, /* special tokens spelled in the text become those tokens */
} vocab_encode_flags;

/* Appends the ids of text. Bytes that are not UTF-8 are encoded as the reference does (bytes of a
 * byte-level vocabulary, U+FFFD otherwise); never an error. Fails only for memory or size. */
weft_status vocab_encode(const vocab *v, str text, uint32_t flags, vocab_ids *out,
                         weft_error *err) WEFT_NODISCARD;

/* Streaming decoder: appends to out the text that is certain; incomplete UTF-8 waits for more and
 * becomes U+FFFD only when it can no longer be completed or at flush. Behind a decoder of a
 * tokenizer.json also waits what later tokens may change, and no more than that. */
struct tokjson_stream;
typedef struct vocab_decoder {
    const vocab *vocab;
    struct tokjson_stream *stream; /* NULL where the tokens' bytes in a row are the text */
    utf8_mender mender;
    bool is_started;    /* something was decoded: a leading space rule no longer applies */
    bool shows_special; /* control tokens appear as their text */
    bool is_failed;     /* no memory: out fails */
} vocab_decoder;

void vocab_decoder_init(vocab_decoder *d, const vocab *v, bool shows_special);
void vocab_decoder_deinit(vocab_decoder *d); /* accepts a zeroed one */
void vocab_decoder_push(vocab_decoder *d, int32_t id, buf *out);
void vocab_decoder_flush(vocab_decoder *d, buf *out);
/* An error where a pattern of the decoder took too many steps. */
weft_status vocab_decoder_status(const vocab_decoder *d, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_VOCAB_VOCAB_H */
