/* weft.h - all of libweft: runtime.h (process), engine.h (models and requests),
 * stats.h (what an engine has done), dtype.h, histogram.h, status.h, export.h.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include "weft/dtype.h"
#include "weft/engine.h"
#include "weft/histogram.h"
#include "weft/runtime.h"
#include "weft/stats.h"
#include "weft/status.h"

#endif /* WEFT_WEFT_H */
