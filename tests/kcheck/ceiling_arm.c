/* ceiling_arm.c - register-only loops of what each level of ARM multiplies and adds with.
 *
 * A turn is one multiplication and addition for each of SUMS sums, which do not wait for each
 * other. The instructions are written out, so that what runs does not depend on the compiler; the
 * file's flags only make the assembler know them. Registers: 0 to 15 sums, 29 a product, 30 and 31
 * operands; all begin as zeros, since denormals would be slow.
 */
#include "base/compiler.h"
#include "base/cpu.h"
#include "ceiling.h"

#define SUMS 16
#define EACH_SUM(step)                                                                        \
    step("0") step("1") step("2") step("3") step("4") step("5") step("6") step("7") step("8") \
        step("9") step("10") step("11") step("12") step("13") step("14") step("15")
#define CLEAR(r) "movi v" r ".2d, #0\n\t"
#define NEXT_TURN "subs %0, %0, #1\n\tb.ne 1b"
#define RUN(n_turns, step)                                                                      \
    __asm__ volatile(EACH_SUM(CLEAR) CLEAR("30") CLEAR("31") "1:\n\t" EACH_SUM(step) NEXT_TURN  \
                     : "+r"(n_turns)                                                            \
                     :                                                                          \
                     : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", \
                       "v11", "v12", "v13", "v14", "v15", "v29", "v30", "v31")

#define MULL_ADAL(sum)                 \
    "smull v29.8h, v30.8b, v31.8b\n\t" \
    "sadalp v" sum ".4s, v29.8h\n\t"
#define FMLA(sum) "fmla v" sum ".4s, v30.4s, v31.4s\n\t"
#define SDOT(sum) "sdot v" sum ".4s, v30.16b, v31.16b\n\t"
#define SMMLA(sum) "smmla v" sum ".4s, v30.16b, v31.16b\n\t"

static void mull_adal(uint64_t n_turns) { RUN(n_turns, MULL_ADAL); }
static void fmla(uint64_t n_turns) { RUN(n_turns, FMLA); }
static void sdot(uint64_t n_turns) { RUN(n_turns, SDOT); }
static void smmla(uint64_t n_turns) { RUN(n_turns, SMMLA); }

/* Operations of a turn: two for each product. */
static const ceiling_loop loops[] = {
    {CPU_NEON, CEILING_BYTES, 0, "smull + sadalp", SUMS * 2.0 * 8, mull_adal},
    {CPU_NEON, CEILING_FLOAT, 0, "fmla", SUMS * 2.0 * 4, fmla},
    {CPU_DOTPROD, CEILING_BYTES, 0, "sdot", SUMS * 2.0 * 16, sdot},
    {CPU_I8MM, CEILING_BYTES, 0, "smmla", SUMS * 2.0 * 32, smmla},
};

const ceiling_loop *ceiling_loops(size_t *count) {
    *count = WEFT_LEN(loops);
    return loops;
}
