/* cpu.c - asking the processor, and believing it only when the system agrees.
 *
 * x86: CPUID tells what the instructions are, XGETBV which registers the system saves at a task
 * switch. A virtual machine may show AVX-512 in the first and not in the second; running it
 * there would corrupt registers, so both are asked. Flags are found from small to large and
 * the search ends at the first level that is missing: no flag comes without what it builds on.
 *
 * arm64: NEON is part of the architecture. The rest comes from the system: the auxiliary vector
 * on Linux, sysctl on macOS.
 */
#include "base/cpu.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/os.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#include <sys/types.h>
#endif

static const struct {
    uint32_t flag;
    const char *name;
} flag_names[] = {
#define X(name, bit, text) {CPU_##name, text},
    CPU_FLAG_LIST(X)
#undef X
};

static bool flag_parse(str word, uint32_t *flags);
static bool hex_parse(str digits, uint32_t *out);
static void name_read(char *out, size_t out_bytes);

bool cpu_mask_parse(str text, uint32_t *mask) {
    uint32_t flags = 0;
    size_t at = 0;
    while (at <= text.len) {
        const size_t comma = str_find(text, STR_LIT(","), at);
        const size_t end = comma != SIZE_MAX ? comma : text.len;
        uint32_t more = 0;
        if (!flag_parse(str_trim(str_slice(text, at, end)), &more)) {
            return false;
        }
        flags |= more;
        at = end + 1;
    }
    *mask = flags;
    return true;
}

void cpu_flags_format(uint32_t flags, char *out, size_t out_bytes) {
    WEFT_ASSERT(out_bytes > 0);
    out[0] = '\0';
    size_t len = 0;
    for (size_t i = 0; i < WEFT_LEN(flag_names); i++) {
        if ((flags & flag_names[i].flag) == 0) {
            continue;
        }
        const int n =
            snprintf(out + len, out_bytes - len, "%s%s", len > 0 ? " " : "", flag_names[i].name);
        if (n < 0 || (size_t)n >= out_bytes - len) {
            out[len] = '\0'; /* whole names only */
            return;
        }
        len += (size_t)n;
    }
}

void cpu_name(char *out, size_t out_bytes) {
    WEFT_ASSERT(out_bytes > 0);
    char raw[256] = "";
    name_read(raw, sizeof raw);
    const str name = str_trim(str_from_cstr(raw));
    if (name.len == 0) {
        (void)snprintf(out, out_bytes, "unknown");
    } else {
        (void)snprintf(out, out_bytes, STR_FMT, STR_ARG(name));
    }
}

static bool flag_parse(str word, uint32_t *flags) {
    if (str_eq_cstr(word, "none")) {
        *flags = 0;
        return true;
    }
    if (str_eq_cstr(word, "all")) {
        *flags = CPU_FLAGS_ALL;
        return true;
    }
    if (str_starts_with(word, STR_LIT("0x"))) {
        return hex_parse(str_slice(word, 2, word.len), flags);
    }
    for (size_t i = 0; i < WEFT_LEN(flag_names); i++) {
        if (str_eq_cstr(word, flag_names[i].name)) {
            *flags = flag_names[i].flag;
            return true;
        }
    }
    return false;
}

static bool hex_parse(str digits, uint32_t *out) {
    static const char hex[] = "0123456789abcdef";
    if (digits.len == 0 || digits.len > 8) {
        return false;
    }
    uint32_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        const char c = digits.data[i];
        const char lower = c >= 'A' && c <= 'F' ? (char)(c + ('a' - 'A')) : c;
        const char *hit = lower != '\0' ? strchr(hex, lower) : NULL;
        if (hit == NULL) {
            return false;
        }
        value = value << 4 | (uint32_t)(hit - hex);
    }
    *out = value;
    return true;
}

#if defined(__x86_64__)

static bool has(uint32_t reg, unsigned bit) { return (reg >> bit & 1u) != 0; }

/* Which register states the system saves: bit 1 SSE, 2 AVX, 5-7 AVX-512, 17-18 AMX. */
static uint32_t saved_states(void) {
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* AMD's cores start a VDPBF16PS as often as a VPDPWSSD; Intel's take several times as long. */
static bool is_amd(void) {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid(0, &a, &b, &c, &d) && b == 0x68747541u && d == 0x69746e65u &&
           c == 0x444d4163u; /* "AuthenticAMD" */
}

/* Bits as in Intel's Software Developer's Manual, volume 2A, CPUID, leaves 1 and 7. */
uint32_t cpu_flags_detect(void) {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return 0;
    }
    const bool has_osxsave = has(c, 27);
    const bool has_avx = has(c, 28);
    const bool has_fma = has(c, 12);
    const bool has_f16c = has(c, 29);
    if (!has_osxsave || !has_avx || !has_fma || !has_f16c) {
        return 0;
    }
    const uint32_t states = saved_states();
    if ((states & 0x6u) != 0x6u || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return 0;
    }
    if (!has(b, 5) || !has(b, 8)) { /* AVX2, BMI2 */
        return 0;
    }
    uint32_t flags = CPU_AVX2;
    const bool has_avx512 = has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31); /* F DQ BW VL */
    const bool has_vnni = has(c, 11);
    const bool has_gfni = has(c, 8);
    const bool has_vbmi = has(c, 1);
    const bool has_amx = has(d, 24) && has(d, 25); /* tiles, 8-bit integers */
    const bool has_amx_bf16 = has(d, 22) && has_gfni;
    const bool has_leaf_7_1 = a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d);
    if (has_leaf_7_1 && has(a, 4)) {
        flags |= CPU_AVXVNNI;
    }
    if (has_avx512 && (states & 0xe6u) == 0xe6u) {
        flags |= CPU_AVX512;
        flags |= has_vnni ? CPU_AVX512VNNI : 0u;
        const bool has_vbmi_level = has_vnni && has_vbmi && has_gfni;
        flags |= has_vbmi_level ? CPU_AVX512VBMI : 0u;
        const bool has_bf16 = has_leaf_7_1 && has(a, 5);
        flags |= has_bf16 ? CPU_AVX512BF16 : 0u;
        flags |= has_bf16 && has_vbmi_level && is_amd() ? CPU_FASTBF16 : 0u;
        if (has_vnni && has_amx && (states & 0x60000u) == 0x60000u && os_allow_amx()) {
            flags |= CPU_AMX | (has_amx_bf16 && has_bf16 ? CPU_AMXBF16 : 0u);
        }
    }
    return flags;
}

/* The brand string: three leaves of 16 bytes each. */
static void name_read(char *out, size_t out_bytes) {
    unsigned words[13] = {0};
    WEFT_ASSERT(out_bytes >= sizeof words);
    for (unsigned i = 0; i < 3; i++) {
        unsigned *w = words + 4 * i;
        if (!__get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3])) {
            return;
        }
    }
    memcpy(out, words, sizeof words);
}

#elif defined(__aarch64__) && defined(__linux__)

/* Bits of the kernel's Documentation/arch/arm64/elf_hwcaps. */
#define HWCAP_BIT_ASIMD 1
#define HWCAP_BIT_ASIMDDP 20
#define HWCAP2_BIT_I8MM 13

uint32_t cpu_flags_detect(void) {
    const unsigned long hwcap = getauxval(AT_HWCAP);
    const unsigned long hwcap2 = getauxval(AT_HWCAP2);
    if ((hwcap >> HWCAP_BIT_ASIMD & 1) == 0) {
        return 0;
    }
    uint32_t flags = CPU_NEON;
    if ((hwcap >> HWCAP_BIT_ASIMDDP & 1) != 0) {
        flags |= CPU_DOTPROD;
        flags |= (hwcap2 >> HWCAP2_BIT_I8MM & 1) != 0 ? CPU_I8MM : 0u;
    }
    return flags;
}

/* Few arm64 systems have a "model name"; boards name themselves in the device tree. */
static void name_read(char *out, size_t out_bytes) {
    char text[4096];
    const size_t len = os_read_text("/proc/cpuinfo", text, sizeof text);
    const str all = str_from(text, len);
    const size_t line = str_find(all, STR_LIT("model name"), 0);
    if (line == SIZE_MAX) {
        (void)os_read_text("/proc/device-tree/model", out, out_bytes);
        return;
    }
    const size_t colon = str_find(all, STR_LIT(":"), line);
    const size_t end = str_find(all, STR_LIT("\n"), line);
    if (colon < end) {
        const str name = str_slice(all, colon + 1, end);
        (void)snprintf(out, out_bytes, STR_FMT, STR_ARG(name));
    }
}

#elif defined(__APPLE__)

static bool has_feature(const char *key) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(key, &value, &size, NULL, 0) == 0 && value != 0;
}

uint32_t cpu_flags_detect(void) {
    uint32_t flags = CPU_NEON; /* every arm64 Mac */
    if (has_feature("hw.optional.arm.FEAT_DotProd")) {
        flags |= CPU_DOTPROD;
        flags |= has_feature("hw.optional.arm.FEAT_I8MM") ? CPU_I8MM : 0u;
    }
    return flags;
}

static void name_read(char *out, size_t out_bytes) {
    size_t size = out_bytes;
    if (sysctlbyname("machdep.cpu.brand_string", out, &size, NULL, 0) != 0) {
        out[0] = '\0';
    }
    out[out_bytes - 1] = '\0';
}

#else

/* An architecture without kernels of its own runs the reference. */
uint32_t cpu_flags_detect(void) { return 0; }

static void name_read(char *out, size_t out_bytes) {
    WEFT_ASSERT(out_bytes > 0);
    out[0] = '\0';
}

#endif
