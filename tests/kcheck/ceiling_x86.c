/* ceiling_x86.c - register-only loops of what each level of x86 multiplies and adds with.
 *
 * A turn is one multiplication and addition for each of SUMS sums, which do not wait for each
 * other; where they are widened, 8 for each of 6 sums of 16 bits, which go to 6 of 32. The
 * instructions are written out, so that what runs does not depend on the compiler. Registers: 0 to
 * 11 sums, 12 a product, 14 and 15 operands; all begin as zeros, since denormals would be slow.
 */
#include <immintrin.h>

#include "base/compiler.h"
#include "base/cpu.h"
#include "ceiling.h"

#define SUMS 12
#define EACH_SUM(step)                                                                        \
    step("0") step("1") step("2") step("3") step("4") step("5") step("6") step("7") step("8") \
        step("9") step("10") step("11")
#define CLEAR(r) "vpxor %%xmm" r ", %%xmm" r ", %%xmm" r "\n\t"
#define NEXT_TURN "dec %0\n\tjnz 1b\n\tvzeroupper"
#define RUN(n_turns, steps)                                                                  \
    __asm__ volatile(EACH_SUM(CLEAR) CLEAR("14") CLEAR("15") "1:\n\t" steps NEXT_TURN        \
                     : "+r"(n_turns)                                                         \
                     :                                                                       \
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm14", "xmm15")

#define MADDUBS_ADD(sum)                       \
    "vpmaddubsw %%ymm14, %%ymm15, %%ymm12\n\t" \
    "vpaddw %%ymm12, %%ymm" sum ", %%ymm" sum "\n\t"
#define MADDWD_ADD(sum)                      \
    "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n\t" \
    "vpaddd %%ymm12, %%ymm" sum ", %%ymm" sum "\n\t"
#define FMA_256(sum) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" sum "\n\t"
#define FMA_512(sum) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" sum "\n\t"
#define DPBUSD_512(sum) "vpdpbusd %%zmm14, %%zmm15, %%zmm" sum "\n\t"
#define DPWSSD_512(sum) "vpdpwssd %%zmm14, %%zmm15, %%zmm" sum "\n\t"
#define DPBF16_512(sum) "vdpbf16ps %%zmm14, %%zmm15, %%zmm" sum "\n\t"

/* Sums of 16 bits begin with a product, get more, and are added to those of 32. */
#define EACH_PAIR(step) \
    step("0", "6") step("1", "7") step("2", "8") step("3", "9") step("4", "10") step("5", "11")
#define FIRST(sum16, sum32) "vpmaddubsw %%ymm14, %%ymm15, %%ymm" sum16 "\n\t"
#define NEXT(sum16, sum32) MADDUBS_ADD(sum16)
#define WIDEN(sum16, sum32)                         \
    "vpmaddwd %%ymm14, %%ymm" sum16 ", %%ymm12\n\t" \
    "vpaddd %%ymm12, %%ymm" sum32 ", %%ymm" sum32 "\n\t"
#define OF_1 EACH_PAIR(FIRST) EACH_PAIR(WIDEN)
#define OF_2 EACH_PAIR(FIRST) EACH_PAIR(NEXT) EACH_PAIR(WIDEN)
#define OF_3 EACH_PAIR(FIRST) EACH_PAIR(NEXT) EACH_PAIR(NEXT) EACH_PAIR(WIDEN)
#define TWO_MORE EACH_PAIR(NEXT) EACH_PAIR(NEXT)
#define OF_4 EACH_PAIR(FIRST) EACH_PAIR(NEXT) TWO_MORE EACH_PAIR(WIDEN)
#define OF_8 EACH_PAIR(FIRST) EACH_PAIR(NEXT) TWO_MORE TWO_MORE TWO_MORE EACH_PAIR(WIDEN)

static void widened_1(uint64_t n_turns) { RUN(n_turns, OF_8); }
static void widened_2(uint64_t n_turns) { RUN(n_turns, OF_4 OF_4); }
static void widened_3(uint64_t n_turns) { RUN(n_turns, OF_3 OF_3 OF_2); }
static void widened_4(uint64_t n_turns) { RUN(n_turns, OF_2 OF_2 OF_2 OF_2); }
static void widened_8(uint64_t n_turns) { RUN(n_turns, OF_1 OF_1 OF_1 OF_1 OF_1 OF_1 OF_1 OF_1); }
static void maddwd_add(uint64_t n_turns) { RUN(n_turns, EACH_SUM(MADDWD_ADD)); }
static void fma_256(uint64_t n_turns) { RUN(n_turns, EACH_SUM(FMA_256)); }
static void fma_512(uint64_t n_turns) { RUN(n_turns, EACH_SUM(FMA_512)); }
static void dpbusd_512(uint64_t n_turns) { RUN(n_turns, EACH_SUM(DPBUSD_512)); }
static void dpwssd_512(uint64_t n_turns) { RUN(n_turns, EACH_SUM(DPWSSD_512)); }
static void dpbf16_512(uint64_t n_turns) { RUN(n_turns, EACH_SUM(DPBF16_512)); }

#define TILE_SUMS 4 /* of 8 tiles, two more for each operand */
#define FOR_ISA(names) __attribute__((target(names)))

typedef struct tile_shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shape;

/* Tiles 0 to 3 are sums, 4 to 7 operands: all whole, all zero. */
FOR_ISA("amx-tile") static void tiles_begin(void) {
    tile_shape shape = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shape.rows[i] = 16;
        shape.row_bytes[i] = 64;
    }
    __asm__ volatile("" ::: "memory"); /* some compilers do not see what the next line reads */
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

FOR_ISA("amx-tile,amx-int8") static void tile_dpbusd(uint64_t n_turns) {
    tiles_begin();
    for (; n_turns > 0; n_turns--) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
}

FOR_ISA("amx-tile,amx-bf16") static void tile_dpbf16(uint64_t n_turns) {
    tiles_begin();
    for (; n_turns > 0; n_turns--) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}

#define WIDENED_OPS (6 * 8 * 2.0 * 32)

/* Operations of a turn: two for each product, of the 8-bit, 32-bit or 16-bit lanes of a register
 * or of 16 x 16 sums over a tile's row. */
static const ceiling_loop loops[] = {
    {CPU_AVX2, CEILING_BYTES, 1, "vpmaddubsw, 1 widening", WIDENED_OPS, widened_1},
    {CPU_AVX2, CEILING_BYTES, 2, "vpmaddubsw, 2 widenings", WIDENED_OPS, widened_2},
    {CPU_AVX2, CEILING_BYTES, 3, "vpmaddubsw, 3 widenings", WIDENED_OPS, widened_3},
    {CPU_AVX2, CEILING_BYTES, 4, "vpmaddubsw, 4 widenings", WIDENED_OPS, widened_4},
    {CPU_AVX2, CEILING_BYTES, 8, "vpmaddubsw, 8 widenings", WIDENED_OPS, widened_8},
    {CPU_AVX2, CEILING_WORDS, 0, "vpmaddwd + vpaddd", SUMS * 2.0 * 16, maddwd_add},
    {CPU_AVX2, CEILING_FLOAT, 0, "vfmadd, 256 bits", SUMS * 2.0 * 8, fma_256},
    {CPU_AVX512, CEILING_FLOAT, 0, "vfmadd, 512 bits", SUMS * 2.0 * 16, fma_512},
    {CPU_AVX512VNNI, CEILING_BYTES, 0, "vpdpbusd, 512 bits", SUMS * 2.0 * 64, dpbusd_512},
    {CPU_AVX512VNNI, CEILING_WORDS, 0, "vpdpwssd, 512 bits", SUMS * 2.0 * 32, dpwssd_512},
    {CPU_AVX512BF16, CEILING_BF16, 0, "vdpbf16ps, 512 bits", SUMS * 2.0 * 32, dpbf16_512},
    {CPU_AMX, CEILING_BYTES, 0, "tdpbusd", TILE_SUMS * 2.0 * 16 * 16 * 64, tile_dpbusd},
    {CPU_AMXBF16, CEILING_BF16, 0, "tdpbf16ps", TILE_SUMS * 2.0 * 16 * 16 * 32, tile_dpbf16},
};

const ceiling_loop *ceiling_loops(size_t *count) {
    *count = WEFT_LEN(loops);
    return loops;
}
