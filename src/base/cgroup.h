/* cgroup.h - what the control group of this process grants it. Linux only.
 *
 * Limits are inherited: the smallest one on the way to the root counts. Both versions of the
 * kernel's interface are read; a system without control groups grants everything.
 */
#ifndef WEFT_BASE_CGROUP_H
#define WEFT_BASE_CGROUP_H

#include <stdint.h>

#define CGROUP_SELF "/proc/self/cgroup"
#define CGROUP_ROOT "/sys/fs/cgroup"

typedef struct cgroup_grant {
    uint64_t mem_limit_bytes;     /* UINT64_MAX: no limit */
    uint64_t mem_available_bytes; /* limit less what cannot be given back; UINT64_MAX: no limit */
    uint32_t cores;               /* whole cores of the quota, at least 1; UINT32_MAX: no limit */
} cgroup_grant;

/* The paths are CGROUP_SELF and CGROUP_ROOT except in tests. */
cgroup_grant cgroup_read(const char *self, const char *root);

#endif /* WEFT_BASE_CGROUP_H */
