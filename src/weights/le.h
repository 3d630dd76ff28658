/* le.h - little-endian numbers at any address, on any machine.
 */
#ifndef WEFT_WEIGHTS_LE_H
#define WEFT_WEIGHTS_LE_H

#include <stdint.h>
#include <string.h>

static inline uint16_t le_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t le_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t le_u64(const uint8_t *p) {
    return (uint64_t)le_u32(p) | (uint64_t)le_u32(p + 4) << 32;
}

static inline float le_f32(const uint8_t *p) {
    const uint32_t bits = le_u32(p);
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline double le_f64(const uint8_t *p) {
    const uint64_t bits = le_u64(p);
    double f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

#endif /* WEFT_WEIGHTS_LE_H */
