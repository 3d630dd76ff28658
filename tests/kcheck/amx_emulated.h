/* amx_emulated.h - tiles in memory, so that AMX kernels are checked on machines without AMX.
 *
 * kcheck_amx is kcheck with those kernels compiled after this header, which names functions where
 * immintrin.h names instructions. What an instruction computes is in Intel's manual, volume 2;
 * where that has a fault (tiles whose shapes do not fit each other, a tile used before tiles are
 * configured) the program aborts. All else that the kernels need is still the machine's: AVX-512
 * with VNNI, and for those of bf16 also bf16 and GFNI. A thread has tiles of its own.
 */
#ifndef WEFT_TESTS_AMX_EMULATED_H
#define WEFT_TESTS_AMX_EMULATED_H

#include <immintrin.h>
#include <stddef.h>

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbusd
#undef _tile_dpbf16ps
#define _tile_loadconfig(shape) amx_emulated_configure(shape)
#define _tile_release() amx_emulated_release()
#define _tile_zero(tile) amx_emulated_zero(tile)
#define _tile_loadd(tile, from, stride) amx_emulated_load(tile, from, stride)
#define _tile_stream_loadd(tile, from, stride) amx_emulated_load(tile, from, stride)
#define _tile_stored(tile, to, stride) amx_emulated_store(tile, to, stride)
#define _tile_dpbssd(sums, a, b) amx_emulated_bytes(sums, a, b, 1, 1)
#define _tile_dpbsud(sums, a, b) amx_emulated_bytes(sums, a, b, 1, 0)
#define _tile_dpbusd(sums, a, b) amx_emulated_bytes(sums, a, b, 0, 1)
#define _tile_dpbf16ps(sums, a, b) amx_emulated_bf16(sums, a, b)

/* shape: the 64 bytes that LDTILECFG reads. */
void amx_emulated_configure(const void *shape);
void amx_emulated_release(void);
void amx_emulated_zero(int tile);
void amx_emulated_load(int tile, const void *from, size_t stride_bytes);
void amx_emulated_store(int tile, void *to, size_t stride_bytes);
/* sums += a . b, of bytes that have a sign or not. */
void amx_emulated_bytes(int sums, int a, int b, int is_a_signed, int is_b_signed);
/* sums += a . b, of pairs of bf16. */
void amx_emulated_bf16(int sums, int a, int b);

#endif /* WEFT_TESTS_AMX_EMULATED_H */
