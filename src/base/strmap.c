/* strmap.c - open addressing with linear probing.
 *
 * A slot is free when its key has no data pointer; an empty key is stored with a pointer to ""
 * for that reason. The stored hash spares most key comparisons, and all hashing when the table
 * grows. There is no removal, hence no tombstones: a probe ends at the first free slot, and at
 * most 3/4 of the slots are taken, so one always comes.
 *
 * Keys come from files and requests, whose author may want them all in one place. So the hash is
 * SipHash-1-3 (Aumasson and Bernstein 2012, "SipHash: a fast short-input PRF"), keyed at random
 * once a process: which keys meet is not known outside. str_hash stays for content, where it must
 * be the same everywhere.
 */
#include "base/strmap.h"

#include <pthread.h>

#include "base/check.h"
#include "base/os.h"

#define CAPACITY_FIRST 16u
#define CAPACITY_MAX ((uint32_t)1 << 31)

static uint32_t key_hash(str key);
static strmap_slot *slot_find(strmap_slot *slots, uint32_t capacity, str key, uint32_t hash);
static bool grow(strmap *m, uint32_t capacity);

void strmap_init(strmap *m, mem_room room) { *m = (strmap){.room = room}; }

void strmap_deinit(strmap *m) {
    mem_free(m->slots);
    *m = (strmap){.room = m->room};
}

bool strmap_reserve(strmap *m, uint32_t count) {
    if (count > CAPACITY_MAX / 4 * 3) {
        return false;
    }
    uint32_t capacity = m->capacity > 0 ? m->capacity : CAPACITY_FIRST;
    while (count > capacity / 4 * 3) {
        capacity *= 2;
    }
    return capacity == m->capacity || grow(m, capacity);
}

bool strmap_put(strmap *m, str key, uint32_t value) {
    const uint32_t hash = key_hash(key);
    if (m->count > 0) {
        strmap_slot *old = slot_find(m->slots, m->capacity, key, hash);
        if (old->key.data != NULL) {
            old->value = value;
            return true;
        }
    }
    if (!strmap_reserve(m, m->count + 1)) {
        return false;
    }
    strmap_slot *slot = slot_find(m->slots, m->capacity, key, hash);
    WEFT_ASSERT(slot->key.data == NULL);
    *slot = (strmap_slot){
        .key = key.data != NULL ? key : STR_LIT(""),
        .hash = hash,
        .value = value,
    };
    m->count++;
    return true;
}

bool strmap_get(const strmap *m, str key, uint32_t *value) {
    if (m->count == 0) {
        return false;
    }
    const strmap_slot *slot = slot_find(m->slots, m->capacity, key, key_hash(key));
    if (slot->key.data == NULL) {
        return false;
    }
    *value = slot->value;
    return true;
}

static pthread_once_t secret_once = PTHREAD_ONCE_INIT;
static uint64_t secret[2]; /* written once, before the first hash */

static void draw_secret(void) {
    secret[0] = os_random_u64();
    secret[1] = os_random_u64();
}

static inline uint64_t rotate(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint32_t key_hash(str key) {
    const int rc = pthread_once(&secret_once, draw_secret);
    WEFT_ASSERT(rc == 0);
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du,
                     secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u};
    size_t at = 0;
    for (; key.len - at >= 8; at += 8) {
        uint64_t word; /* in this machine's order: the hash never leaves the process */
        memcpy(&word, key.data + at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = 0;
    if (key.len > at) {
        memcpy(&last, key.data + at, key.len - at);
    }
    last ^= (uint64_t)key.len << 56;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        sip_round(v);
    }
    const uint64_t h = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(h ^ h >> 32);
}

/* The slot of the key, or the free one where it belongs. */
static strmap_slot *slot_find(strmap_slot *slots, uint32_t capacity, str key, uint32_t hash) {
    WEFT_DEBUG_ASSERT((capacity & (capacity - 1)) == 0);
    uint32_t at = hash & (capacity - 1);
    while (slots[at].key.data != NULL) {
        if (slots[at].hash == hash && str_eq(slots[at].key, key)) {
            break;
        }
        at = (at + 1) & (capacity - 1);
    }
    return &slots[at];
}

static bool grow(strmap *m, uint32_t capacity) {
    WEFT_ASSERT(capacity > m->capacity);
    strmap_slot *slots = mem_zalloc(m->room, capacity, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < m->capacity; i++) {
        const strmap_slot *old = &m->slots[i];
        if (old->key.data != NULL) {
            *slot_find(slots, capacity, old->key, old->hash) = *old;
        }
    }
    mem_free(m->slots);
    m->slots = slots;
    m->capacity = capacity;
    return true;
}
