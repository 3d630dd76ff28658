/* engine_impl.h - what engine.c shows to its neighbours in the room.
 */
#ifndef WEFT_ENGINE_ENGINE_IMPL_H
#define WEFT_ENGINE_ENGINE_IMPL_H

#include "engine/executor.h"
#include "vocab/chat.h"
#include "vocab/vocab.h"
#include "weft/engine.h"

const vocab *engine_vocab(const weft_engine *en);
const chat *engine_chat(const weft_engine *en); /* NULL without a template */

#endif /* WEFT_ENGINE_ENGINE_IMPL_H */
