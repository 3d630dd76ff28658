/* tokjson_post.c - the post-processor of a tokenizer.json, reduced to the tokens it puts before and
 * behind one text: that is all that its kinds do.
 *
 * In a sequence each member stands around what the one before it made.
 */
#include <jansson.h>

#include "vocab/tokjson.h"

static weft_status load_pair(tokjson *t, const json_t *step, weft_error *err);
static weft_status load_template(tokjson *t, const json_t *step, weft_error *err);
static weft_status push_template(tokjson *t, bool is_before, json_int_t id, weft_error *err);

weft_status tokjson_post_load(tokjson *t, const json_t *step, uint32_t depth, weft_error *err) {
    if (step == NULL || json_is_null(step)) {
        return WEFT_OK;
    }
    const char *type = tokjson_type(step);
    if (strcmp(type, "ByteLevel") == 0) {
        return WEFT_OK; /* offsets only */
    }
    if (strcmp(type, "TemplateProcessing") == 0) {
        return load_template(t, step, err);
    }
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        return load_pair(t, step, err);
    }
    if (strcmp(type, "Sequence") != 0) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "tokenizer.json: post_processor '%s' is not supported", type);
    }
    if (depth >= TOKJSON_DEPTH_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: post_processor nested more than %u deep",
                         TOKJSON_DEPTH_MAX);
    }
    const json_t *list = json_object_get(step, "processors");
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < json_array_size(list) && status == WEFT_OK; i++) {
        status = tokjson_post_load(t, json_array_get(list, i), depth + 1, err);
    }
    return status;
}

/* [CLS] before and [SEP] behind, each given as ["[SEP]", 102]. */
static weft_status load_pair(tokjson *t, const json_t *step, weft_error *err) {
    const json_t *cls = json_array_get(json_object_get(step, "cls"), 1);
    const json_t *sep = json_array_get(json_object_get(step, "sep"), 1);
    if (!json_is_integer(cls) || !json_is_integer(sep)) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: post_processor '%s' without cls or sep",
                         tokjson_type(step));
    }
    const weft_status status = push_template(t, true, json_integer_value(cls), err);
    return status == WEFT_OK ? push_template(t, false, json_integer_value(sep), err) : status;
}

static weft_status load_template(tokjson *t, const json_t *step, weft_error *err) {
    const json_t *single = json_object_get(step, "single");
    const json_t *special = json_object_get(step, "special_tokens");
    int32_t before[TOKJSON_TEMPLATE_MAX];
    uint32_t n_before = 0;
    bool is_before = true;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < json_array_size(single) && status == WEFT_OK; i++) {
        const json_t *item = json_array_get(single, i);
        if (json_object_get(item, "Sequence") != NULL && is_before) {
            is_before = false;
            continue;
        }
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        const json_t *ids =
            name == NULL ? NULL : json_object_get(json_object_get(special, name), "ids");
        if (json_array_size(ids) == 0) {
            return weft_fail(err, WEFT_UNSUPPORTED,
                             "tokenizer.json: TemplateProcessing: item %zu is no special token", i);
        }
        for (size_t k = 0; k < json_array_size(ids) && status == WEFT_OK; k++) {
            const json_int_t id = json_integer_value(json_array_get(ids, k));
            if (!is_before) {
                status = push_template(t, false, id, err);
            } else if (n_before == TOKJSON_TEMPLATE_MAX || id < 0 || id > INT32_MAX) {
                status = push_template(t, true, -1, err);
            } else {
                before[n_before++] = (int32_t)id;
            }
        }
    }
    if (status == WEFT_OK && is_before) {
        status = weft_fail(err, WEFT_UNSUPPORTED,
                           "tokenizer.json: TemplateProcessing without the sequence A");
    }
    while (status == WEFT_OK && n_before > 0) { /* outermost last: each goes to the front */
        status = push_template(t, true, before[--n_before], err);
    }
    return status;
}

static weft_status push_template(tokjson *t, bool is_before, json_int_t id, weft_error *err) {
    uint32_t *count = is_before ? &t->n_before : &t->n_after;
    if (id < 0 || id > INT32_MAX || *count == TOKJSON_TEMPLATE_MAX) {
        return weft_fail(err, WEFT_LIMIT,
                         "tokenizer.json: post_processor with token %lld, or more than %u tokens",
                         (long long)id, TOKJSON_TEMPLATE_MAX);
    }
    if (is_before) {
        memmove(t->before + 1, t->before, *count * sizeof *t->before);
        t->before[0] = (int32_t)id;
    } else {
        t->after[*count] = (int32_t)id;
    }
    ++*count;
    return WEFT_OK;
}
