/* checksum.c - six independent lanes of multiply and rotate.
 *
 * A lane takes every sixth word: lane = rotate((lane ^ word) * odd). Each step is invertible in
 * the lane for a given word and in the word for a given lane, so two inputs that differ in one
 * word end with different lanes. Six lanes hide the latency of the multiplication. The lanes and
 * the length are then mixed by the finalizer of splitmix64, lane after lane.
 */
#include "base/checksum.h"

#include <string.h>

#define LANES 6u
#define STRIPE_BYTES (LANES * sizeof(uint64_t))
#define ODD 0x9e3779b185ebca87u

static uint64_t mix(uint64_t h) {
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

static inline uint64_t step(uint64_t lane, uint64_t word) {
    const uint64_t h = (lane ^ word) * ODD;
    return h << 29 | h >> 35;
}

static inline uint64_t load(const unsigned char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

uint64_t checksum(const void *data, size_t len, uint64_t seed) {
    const unsigned char *p = data;
    size_t left = len;
    uint64_t a = mix(seed + 1), b = mix(seed + 2), c = mix(seed + 3);
    uint64_t d = mix(seed + 4), e = mix(seed + 5), f = mix(seed + 6);
    for (; left >= STRIPE_BYTES; left -= STRIPE_BYTES, p += STRIPE_BYTES) {
        a = step(a, load(p));
        b = step(b, load(p + 8));
        c = step(c, load(p + 16));
        d = step(d, load(p + 24));
        e = step(e, load(p + 32));
        f = step(f, load(p + 40));
    }
    uint64_t tail[LANES] = {0};
    if (left > 0) {
        memcpy(tail, p, left);
    }
    const uint64_t lanes[LANES] = {a, b, c, d, e, f};
    uint64_t h = mix(seed ^ (uint64_t)len * ODD);
    for (size_t i = 0; i < LANES; i++) {
        h = mix(step(h, step(lanes[i], tail[i])));
    }
    return h;
}
