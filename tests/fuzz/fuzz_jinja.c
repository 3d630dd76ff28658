/* fuzz_jinja.c - hostile templates: compile anything, render whatever compiles.
 *
 *   template                     rendered over a small conversation with every kind of JSON value
 *   template FF variables.json   rendered over what stands behind the byte FF, no part of UTF-8
 *
 * Bounds are far below the real ones, so that a template that only burns time does not slow the
 * search.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "text/jinja.h"

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"be kind\"},"
    " {\"role\": \"user\", \"content\": \"h\\u00e9llo <x>\"},"
    " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"type\": \"function\","
    " \"function\": {\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, null, true, \"s\"]}}}]},"
    " {\"role\": \"tool\", \"content\": [{\"type\": \"text\", \"text\": \"ok\"}]}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}],"
    " \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\","
    " \"a\": \"text\", \"b\": 7, \"c\": -1.5, \"d\": {\"k\": \"v\", \"1\": []}, \"e\": [3, 1, 2],"
    " \"f\": false, \"n\": null}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const jinja_options options = {
        .now_unix_s = 1700000000, .steps_max = 20000, .memory_bytes_max = 4u << 20};
    const str input = str_from((const char *)data, size);
    const size_t mark = str_find(input, STR_LIT("\xFF"), 0);
    const str variables =
        mark != SIZE_MAX ? str_slice(input, mark + 1, size) : STR_LIT(conversation);
    weft_error err;
    jinja *j = NULL;
    buf out;
    buf_init(&out, MEM_TEST, JINJA_OUTPUT_BYTES_MAX);
    if (jinja_compile(&j, str_slice(input, 0, mark), "fuzz", &err) == WEFT_OK &&
        jinja_render(j, variables, &options, &out, &err) == WEFT_OK) {
        buf_clear(&out);
    }
    jinja_destroy(&j);
    buf_deinit(&out);
    return 0;
}
