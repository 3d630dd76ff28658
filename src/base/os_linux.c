/* os_linux.c - what Linux tells through /proc and /sys, and where threads run.
 *
 * Sizes come from /proc/self/status and /proc/meminfo in kB, and are bounded by the control
 * group (cgroup.c). Figures the system does not give are 0; counts are at least 1.
 *
 * Cores: the processors of the affinity mask, of which hardware threads of one core count once.
 * A core is known by its first sibling. The kernels fill a core's vector units from one thread,
 * so a second one on the same core only takes turns.
 */
#include "base/os.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/str.h"

#define CPUS_MAX CPU_SETSIZE
#define CACHES_MAX 16u /* that a processor lists */

static uint64_t kb_field(const char *path, const char *key);
static uint32_t cores_allowed(cpu_set_t *allowed, uint16_t *core_of);

uint64_t os_rss_bytes(void) { return kb_field("/proc/self/status", "\nVmRSS:"); }

uint64_t os_rss_peak_bytes(void) { return kb_field("/proc/self/status", "\nVmHWM:"); }

/* Documentation/filesystems/proc.rst, clear_refs: 5 resets the peak, as getrusage sees it too. */
void os_rss_peak_forget(void) {
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)os_write_all(fd, "5", 1);
        (void)close(fd);
    }
}

uint64_t os_anon_bytes(void) { return kb_field("/proc/self/status", "\nRssAnon:"); }

uint64_t os_mem_total_bytes(void) {
    const uint64_t machine = kb_field("/proc/meminfo", "MemTotal:");
    const uint64_t group = cgroup_read(CGROUP_SELF, CGROUP_ROOT).mem_limit_bytes;
    return group < machine ? group : machine;
}

uint64_t os_mem_available_bytes(void) {
    const uint64_t machine = kb_field("/proc/meminfo", "\nMemAvailable:");
    const uint64_t group = cgroup_read(CGROUP_SELF, CGROUP_ROOT).mem_available_bytes;
    return group < machine ? group : machine; /* a full group has 0 left, and means it */
}

/* Not in every libc's headers: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA). */
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18

bool os_allow_amx(void) {
#if defined(__x86_64__)
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

uint32_t os_cores(void) {
    cpu_set_t allowed;
    uint16_t core_of[CPUS_MAX];
    const uint32_t cores = cores_allowed(&allowed, core_of);
    const uint32_t quota = cgroup_read(CGROUP_SELF, CGROUP_ROOT).cores;
    return cores < quota ? cores : quota;
}

uint32_t os_cpus(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 1) {
        return 1;
    }
    const uint32_t cpus = (uint32_t)CPU_COUNT(&allowed);
    const uint32_t quota = cgroup_read(CGROUP_SELF, CGROUP_ROOT).cores;
    return cpus < quota ? cpus : quota;
}

static size_t cache_file(char *out, size_t out_bytes, int cpu, unsigned index, const char *name) {
    char path[96];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cache/index%u/%s", cpu, index,
                   name);
    return os_read_text(path, out, out_bytes);
}

/* Each cache is a folder with its level, its type and its size ("48K"). */
uint64_t os_cache_bytes(uint32_t level) {
    const int cpu = sched_getcpu();
    for (unsigned index = 0; index < CACHES_MAX; index++) {
        char text[32];
        uint64_t number = 0;
        const size_t len = cache_file(text, sizeof text, cpu, index, "level");
        if (len == 0) {
            return 0;
        }
        if (!str_parse_u64(str_trim(str_from(text, len)), &number) || number != level) {
            continue;
        }
        (void)cache_file(text, sizeof text, cpu, index, "type");
        if (text[0] != 'D' && text[0] != 'U') { /* Data, Unified; not Instruction */
            continue;
        }
        const size_t size_len = cache_file(text, sizeof text, cpu, index, "size");
        return str_parse_bytes(str_trim(str_from(text, size_len)), &number) ? number : 0;
    }
    return 0;
}

/* Pins to all hardware threads of the core: which of them, the scheduler knows better. */
bool os_thread_pin(uint32_t nth, uint32_t count) {
    cpu_set_t allowed;
    uint16_t core_of[CPUS_MAX];
    const uint32_t cores = cores_allowed(&allowed, core_of);
    if (count != cores || nth >= count || cgroup_read(CGROUP_SELF, CGROUP_ROOT).cores < cores) {
        return false;
    }
    uint32_t seen = 0;
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || core_of[cpu] != cpu || seen++ != nth) {
            continue;
        }
        cpu_set_t core;
        CPU_ZERO(&core);
        for (unsigned sibling = cpu; sibling < CPUS_MAX; sibling++) {
            if (CPU_ISSET(sibling, &allowed) && core_of[sibling] == cpu) {
                CPU_SET(sibling, &core);
            }
        }
        return sched_setaffinity(0, sizeof core, &core) == 0;
    }
    return false;
}

/* Linux keeps a nice value for each thread, whatever POSIX says of processes. */
void os_thread_yield_to_others(void) { (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 19); }

void os_thread_name(const char *name) {
    char shortened[16];
    (void)snprintf(shortened, sizeof shortened, "%s", name);
    (void)pthread_setname_np(pthread_self(), shortened);
}

/* Of "key:   1234 kB", in bytes; 0 when there is no such line. */
static uint64_t kb_field(const char *path, const char *key) {
    char text[8192];
    const str all = str_from(text, os_read_text(path, text, sizeof text));
    const str wanted = str_from_cstr(key);
    const size_t at = str_find(all, wanted, 0);
    if (at == SIZE_MAX) {
        return 0;
    }
    const size_t end = str_find(all, STR_LIT(" kB"), at);
    uint64_t kb = 0;
    if (end == SIZE_MAX || !str_parse_u64(str_trim(str_slice(all, at + wanted.len, end)), &kb)) {
        return 0;
    }
    return kb <= UINT64_MAX / 1024 ? kb * 1024 : 0;
}

/* The first number of a list like "0,64" or "0-1" that this process may use. */
static unsigned first_sibling(unsigned cpu, const cpu_set_t *allowed) {
    char path[96];
    char text[256];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list",
                   cpu);
    str list = str_trim(str_from(text, os_read_text(path, text, sizeof text)));
    while (list.len > 0) {
        const str range = str_slice(list, 0, str_find(list, STR_LIT(","), 0));
        const size_t dash = str_find(range, STR_LIT("-"), 0);
        uint64_t first = 0;
        uint64_t last = 0;
        if (!str_parse_u64(str_slice(range, 0, dash), &first)) {
            break;
        }
        last = first;
        if (dash != SIZE_MAX && !str_parse_u64(str_slice(range, dash + 1, range.len), &last)) {
            break;
        }
        for (uint64_t i = first; i <= last && i < CPUS_MAX; i++) {
            if (CPU_ISSET((unsigned)i, allowed)) {
                return (unsigned)i;
            }
        }
        list = str_slice(list, range.len + 1, list.len);
    }
    return cpu;
}

/* Fills the mask and, for each processor in it, the first sibling that stands for its core. */
static uint32_t cores_allowed(cpu_set_t *allowed, uint16_t *core_of) {
    CPU_ZERO(allowed);
    if (sched_getaffinity(0, sizeof *allowed, allowed) != 0) {
        return 1;
    }
    uint32_t cores = 0;
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        if (!CPU_ISSET(cpu, allowed)) {
            continue;
        }
        const unsigned first = first_sibling(cpu, allowed);
        core_of[cpu] = (uint16_t)(first < cpu ? first : cpu);
        cores += core_of[cpu] == cpu ? 1 : 0;
    }
    return cores > 0 ? cores : 1;
}
