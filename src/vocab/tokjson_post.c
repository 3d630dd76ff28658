/* tokjson_post.c - the post-processor of a tokenizer.json, reduced to the tokens it puts around one
 * text: that is all that its kinds do.
 *
 * In a sequence each member stands around what the one before it made.
 */
#include <jansson.h>

#include "vocab/tokjson.h"

static weft_status load_pair(tokjson *t, const json_t *step, weft_error *err);
static weft_status load_template(tokjson *t, const json_t *step, weft_error *err);
static weft_status push_all(tokjson_template *to, const tokjson_template *from, weft_error *err);
static weft_status push_id(tokjson_template *to, json_int_t id, weft_error *err);
static weft_status push(tokjson_template *to, int32_t id, weft_error *err);

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
    const tokjson_template inner = t->template;
    t->template.count = 0;
    weft_status status = push_id(&t->template, json_integer_value(cls), err);
    if (status == WEFT_OK) {
        status = push_all(&t->template, &inner, err);
    }
    return status == WEFT_OK ? push_id(&t->template, json_integer_value(sep), err) : status;
}

static weft_status load_template(tokjson *t, const json_t *step, weft_error *err) {
    const json_t *single = json_object_get(step, "single");
    const json_t *special = json_object_get(step, "special_tokens");
    const tokjson_template inner = t->template;
    weft_status status = WEFT_OK;
    t->template.count = 0;
    for (size_t i = 0; i < json_array_size(single) && status == WEFT_OK; i++) {
        const json_t *item = json_array_get(single, i);
        const char *sequence =
            json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        const json_t *ids =
            name == NULL ? NULL : json_object_get(json_object_get(special, name), "ids");
        if (sequence != NULL && strcmp(sequence, "A") == 0) {
            status = push_all(&t->template, &inner, err);
        } else if (json_array_size(ids) == 0) {
            return weft_fail(err, WEFT_FORMAT,
                             "tokenizer.json: TemplateProcessing: item %zu of single is neither "
                             "the sequence A nor one of special_tokens",
                             i);
        }
        for (size_t k = 0; k < json_array_size(ids) && status == WEFT_OK; k++) {
            status = push_id(&t->template, json_integer_value(json_array_get(ids, k)), err);
        }
    }
    return status;
}

static weft_status push_all(tokjson_template *to, const tokjson_template *from, weft_error *err) {
    weft_status status = WEFT_OK;
    for (uint32_t i = 0; i < from->count && status == WEFT_OK; i++) {
        status = push(to, from->ids[i], err);
    }
    return status;
}

static weft_status push_id(tokjson_template *to, json_int_t id, weft_error *err) {
    if (id < 0 || id > INT32_MAX) {
        return weft_fail(err, WEFT_FORMAT, "tokenizer.json: post_processor with token %lld",
                         (long long)id);
    }
    return push(to, (int32_t)id, err);
}

static weft_status push(tokjson_template *to, int32_t id, weft_error *err) {
    if (to->count == TOKJSON_TEMPLATE_MAX) {
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: post_processor of more than %u tokens",
                         TOKJSON_TEMPLATE_MAX);
    }
    to->ids[to->count++] = id;
    return WEFT_OK;
}
