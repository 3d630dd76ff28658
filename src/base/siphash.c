/* siphash.c - the paper's rounds: two for every 8 bytes, four at each end.
 */
#include "base/siphash.h"

typedef struct state {
    uint64_t v0, v1, v2, v3;
} state;

static uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static void mix(state *s, int n_rounds) {
    for (int i = 0; i < n_rounds; i++) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

/* Up to 8 bytes, the first lowest. */
static uint64_t word(const unsigned char *p, size_t n) {
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++) {
        w |= (uint64_t)p[i] << (8 * i);
    }
    return w;
}

static void absorb(state *s, uint64_t w) {
    s->v3 ^= w;
    mix(s, 2);
    s->v0 ^= w;
}

siphash_sum siphash(siphash_key key, const void *data, size_t len) {
    const unsigned char *p = data;
    state s = {.v0 = key.k[0] ^ 0x736f6d6570736575u,
               .v1 = key.k[1] ^ 0x646f72616e646f6du ^ 0xee,
               .v2 = key.k[0] ^ 0x6c7967656e657261u,
               .v3 = key.k[1] ^ 0x7465646279746573u};
    for (size_t i = 0; i < len / 8; i++) {
        absorb(&s, word(p + 8 * i, 8));
    }
    absorb(&s, word(p + len / 8 * 8, len % 8) | (uint64_t)len << 56);
    siphash_sum sum;
    s.v2 ^= 0xee;
    mix(&s, 4);
    sum.w[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    mix(&s, 4);
    sum.w[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    return sum;
}
