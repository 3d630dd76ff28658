/* clock.h - monotonic time.
 */
#ifndef WEFT_BASE_CLOCK_H
#define WEFT_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ns(void);       /* monotonic, since an arbitrary start */
double clock_seconds(uint64_t ns); /* ns as seconds */
int64_t clock_unix_s(void);        /* wall clock, for "created" fields */

#endif /* WEFT_BASE_CLOCK_H */
