/* siphash.h - a keyed 128-bit hash of short inputs (SipHash-2-4-128: Aumasson and Bernstein 2012).
 *
 * Who does not know the key cannot make two inputs meet, so a name of 128 bits stands for what was
 * hashed. The same on every machine.
 */
#ifndef WEFT_BASE_SIPHASH_H
#define WEFT_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct siphash_key {
    uint64_t k[2];
} siphash_key;

typedef struct siphash_sum {
    uint64_t w[2];
} siphash_sum;

siphash_sum siphash(siphash_key key, const void *data, size_t len);

#endif /* WEFT_BASE_SIPHASH_H */
