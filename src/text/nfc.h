/* nfc.h - Unicode normalisation form C, which some tokenizers apply before anything else.
 */
#ifndef WEFT_TEXT_NFC_H
#define WEFT_TEXT_NFC_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* False only for text that normalisation surely leaves as it is. s is well-formed UTF-8. */
bool nfc_may_change(str s);

/* Appends the normalised text. False when memory is out or the buffer is full. */
bool nfc_append(buf *out, str s);

#endif /* WEFT_TEXT_NFC_H */
