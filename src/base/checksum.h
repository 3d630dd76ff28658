/* checksum.h - 64 bits that tell whether bytes are the ones that were written.
 *
 * Made for files of gigabytes that are read at every start: it runs at the speed of memory. Every
 * change within one 8-byte word changes the sum; it does not withstand somebody who forges bytes.
 * The same in every run on every little-endian machine.
 */
#ifndef WEFT_BASE_CHECKSUM_H
#define WEFT_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* seed: the sum so far, to go on with more bytes; or any number. */
uint64_t checksum(const void *data, size_t len, uint64_t seed);

#endif /* WEFT_BASE_CHECKSUM_H */
