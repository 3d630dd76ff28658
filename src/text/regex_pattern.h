/* regex_pattern.h - a pattern of Oniguruma, as tokenizer.json files have them, in PCRE2's spelling.
 */
#ifndef WEFT_TEXT_REGEX_PATTERN_H
#define WEFT_TEXT_REGEX_PATTERN_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/buf.h"
#include "base/status.h"

/* Appends to out. Errors name the pattern; whether it is a pattern at all is left to PCRE2. */
weft_status regex_pattern_translate(buf *out, str pattern, pcre2_compile_context *context,
                                    weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_TEXT_REGEX_PATTERN_H */
