/* page_store.h - pages of the prefix tree in files, so that a known beginning outlives the process.
 *
 *   DIR/lock                                empty, locked while a process keeps pages here
 *   DIR/key                                 16 random bytes: what names are hashed with
 *   DIR/0123456789abcdef0123456789abcdef.page
 *        header | units of the page | K and V of every group and layer
 *
 * A page's name is a keyed hash of the name before it and of its own units, from a root that
 * stands for everything the bytes depend on: the name says the whole text up to here, in this
 * model. A file is used only if all of its header, its units and the sum of its bytes agree; else
 * it is logged and removed. Pages of another model, KV type or format have other names: they are
 * left alone until the room is wanted. Together the files stay below bytes_max; those not used for
 * longest go first.
 *
 * A thread writes: the caller fills one of n_buffers and goes on. Files are written beside their
 * place and renamed. Only the key is forced to disk: what a crash leaves of a page does not pass
 * the check.
 *
 * units: [PAGE_TOKENS], always.
 *
 * Threads: one caller, and the writer inside. One process a folder.
 */
#ifndef WEFT_ENGINE_PAGE_STORE_H
#define WEFT_ENGINE_PAGE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "base/status.h"
#include "layout/page.h"

#define PAGE_STORE_FILES_MAX 65536u

typedef struct page_store page_store;
typedef siphash_sum page_name;

typedef struct page_store_config {
    const char *dir;        /* made when missing; its parent must be there */
    uint64_t bytes_max;     /* of all files together */
    uint64_t fingerprint;   /* of all that the payload depends on beside the units */
    uint32_t payload_bytes; /* of every page */
    uint32_t n_buffers;     /* pages that may wait for the writer, at least 1 */
} page_store_config;

weft_status page_store_open(page_store **out, const page_store_config *config,
                            weft_error *err) WEFT_NODISCARD;
/* Waits for what is being written. Accepts NULL. */
void page_store_close(page_store **store);

page_name page_store_root(const page_store *store);
page_name page_store_child(const page_store *store, page_name parent, const uint64_t *units);

/* Whether it is there or on its way; then it counts as used now. */
bool page_store_has(page_store *store, page_name name);

/* A buffer of payload_bytes to fill and commit, or NULL while all are being written. */
void *page_store_try_begin(page_store *store);
void page_store_commit(page_store *store, page_name name, const uint64_t *units);

/* Reads a page into out [payload_bytes]. False when it is not there or not to be trusted. */
bool page_store_try_read(page_store *store, page_name name, const uint64_t *units, void *out);

uint32_t page_store_count(const page_store *store); /* files of this fingerprint, ours */
uint64_t page_store_bytes(const page_store *store); /* of all files */

#endif /* WEFT_ENGINE_PAGE_STORE_H */
