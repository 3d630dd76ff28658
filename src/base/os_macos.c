/* os_macos.c - what the Mach kernel and sysctl tell.
 *
 * The same questions as os_linux.c. There are no control groups; the machine's own figures
 * are the limits. "Available" counts what is free, what the system holds only as a cache
 * (inactive and speculative pages) and what owners have marked purgeable: all of it can be had
 * without writing to swap. Threads cannot be bound to cores; the scheduler decides by quality
 * of service.
 */
#include "base/os.h"

#include <mach/mach.h>
#include <pthread.h>
#include <pthread/qos.h>
#include <stdio.h>
#include <sys/sysctl.h>
#include <sys/types.h>

static bool basic_info(mach_task_basic_info_data_t *info);
static uint64_t sysctl_u64(const char *key);
static uint32_t count_at_least_1(uint64_t n);

uint64_t os_rss_bytes(void) {
    mach_task_basic_info_data_t info;
    return basic_info(&info) ? (uint64_t)info.resident_size : 0;
}

uint64_t os_rss_peak_bytes(void) {
    mach_task_basic_info_data_t info;
    return basic_info(&info) ? (uint64_t)info.resident_size_max : 0;
}

void os_rss_peak_forget(void) {}

/* "internal" pages belong to no file; compressed ones are theirs as well. */
uint64_t os_anon_bytes(void) {
    task_vm_info_data_t info;
    mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
    if (task_info(mach_task_self(), TASK_VM_INFO, (task_info_t)&info, &count) != KERN_SUCCESS) {
        return 0;
    }
    return (uint64_t)info.internal + (uint64_t)info.compressed;
}

uint64_t os_mem_total_bytes(void) { return sysctl_u64("hw.memsize"); }

uint64_t os_mem_available_bytes(void) {
    const mach_port_t host = mach_host_self();
    vm_statistics64_data_t vm;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    const kern_return_t rc = host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&vm, &count);
    (void)mach_port_deallocate(mach_task_self(), host);
    if (rc != KERN_SUCCESS) {
        return 0;
    }
    /* free_count includes the speculative pages. */
    const uint64_t pages = (uint64_t)vm.free_count + vm.inactive_count + vm.purgeable_count;
    const uint64_t bytes = pages * (uint64_t)vm_kernel_page_size;
    const uint64_t total = os_mem_total_bytes();
    return bytes < total ? bytes : total;
}

bool os_allow_amx(void) { return false; }

uint32_t os_cores(void) { return count_at_least_1(sysctl_u64("hw.physicalcpu")); }

uint32_t os_cpus(void) { return count_at_least_1(sysctl_u64("hw.logicalcpu")); }

uint64_t os_cache_bytes(uint32_t level) {
    static const char *const keys[] = {"hw.l1dcachesize", "hw.l2cachesize", "hw.l3cachesize"};
    return level >= 1 && level <= 3 ? sysctl_u64(keys[level - 1]) : 0;
}

bool os_thread_pin(uint32_t nth, uint32_t count) {
    (void)nth;
    (void)count;
    return false;
}

void os_thread_yield_to_others(void) {
    (void)pthread_set_qos_class_self_np(QOS_CLASS_BACKGROUND, 0);
}

void os_thread_name(const char *name) {
    char shortened[16];
    (void)snprintf(shortened, sizeof shortened, "%s", name);
    (void)pthread_setname_np(shortened);
}

static bool basic_info(mach_task_basic_info_data_t *info) {
    mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
    return task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)info, &count) ==
           KERN_SUCCESS;
}

/* Some keys are 32 bits wide, some 64; the machine is little-endian, so both fit. */
static uint64_t sysctl_u64(const char *key) {
    uint64_t value = 0;
    size_t size = sizeof value;
    return sysctlbyname(key, &value, &size, NULL, 0) == 0 ? value : 0;
}

static uint32_t count_at_least_1(uint64_t n) { return n > 0 ? (uint32_t)n : 1; }
