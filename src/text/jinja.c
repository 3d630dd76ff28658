/* jinja.c - the public face: compile once, render many times.
 *
 * A compiled template is one arena with the normalised source and the tree, plus the table of
 * variable names. Rendering makes a jinja_run with an arena of its own, turns the variables that
 * the template mentions into values, and walks the tree. Variables it never mentions are not
 * even converted.
 */
#include "text/jinja.h"

#include <jansson.h>

#include "text/jinja_run.h"

#define TREE_BYTES_MAX ((size_t)256 << 20) /* of JINJA_SOURCE_BYTES_MAX of source, at worst */

struct jinja {
    arena memory;
    jinja_source source;
    jinja_tree tree;
};

static weft_status render_into(jinja_run *run, const jinja *j, const json_t *variables, buf *out);

weft_status jinja_compile(jinja **out, str source, const char *name, weft_error *err) {
    if (source.len > JINJA_SOURCE_BYTES_MAX) {
        return weft_fail(err, WEFT_LIMIT, "%s: the template has %zu bytes, the limit is %u", name,
                         source.len, JINJA_SOURCE_BYTES_MAX);
    }
    jinja *j = mem_zalloc(MEM_TEXT, 1, sizeof(*j));
    if (j == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: no memory for a template", name);
    }
    arena_init(&j->memory, MEM_TEXT, TREE_BYTES_MAX);
    weft_status status = jinja_source_init(&j->source, &j->memory, source, name, err);
    if (status == WEFT_OK) {
        status = jinja_parse(&j->tree, &j->memory, &j->source, err);
    }
    if (status != WEFT_OK) {
        jinja_destroy(&j);
        return status;
    }
    *out = j;
    return WEFT_OK;
}

void jinja_destroy(jinja **j) {
    if (*j == NULL) {
        return;
    }
    jinja_tree_deinit(&(*j)->tree);
    arena_deinit(&(*j)->memory);
    mem_free(*j);
    *j = NULL;
}

bool jinja_mentions(const jinja *j, const char *variable) {
    uint32_t id;
    return strmap_get(&j->tree.names, str_from_cstr(variable), &id);
}

weft_status jinja_render(const jinja *j, str variables_json, const jinja_options *options, buf *out,
                         weft_error *err) {
    json_error_t why;
    json_t *variables = json_loadb(variables_json.data, variables_json.len, JSON_ALLOW_NUL, &why);
    if (variables == NULL) {
        return weft_fail(err, WEFT_INVALID, "%s: variables are not valid JSON: line %d: %s",
                         j->source.name, why.line, why.text);
    }
    const weft_status status = jinja_render_json(j, variables, options, out, err);
    json_decref(variables);
    return status;
}

weft_status jinja_render_json(const jinja *j, const json_t *variables, const jinja_options *options,
                              buf *out, weft_error *err) {
    if (!json_is_object(variables)) {
        return weft_fail(err, WEFT_INVALID, "%s: variables must be a JSON object", j->source.name);
    }
    const jinja_options none = {0};
    options = options != NULL ? options : &none;
    jinja_run run = {.tree = &j->tree,
                     .source = &j->source,
                     .options = options,
                     .err = err,
                     .steps_max = options->steps_max != 0 ? options->steps_max : JINJA_STEPS_MAX};
    arena_init(&run.memory, MEM_TEXT,
               options->memory_bytes_max != 0 ? options->memory_bytes_max : JINJA_MEMORY_BYTES_MAX);
    const weft_status status = render_into(&run, j, variables, out);
    arena_deinit(&run.memory);
    return status;
}

/* Fills run->globals with the built-in functions and the given variables. */
static weft_status set_globals(jinja_run *run, const jinja *j, const json_t *variables) {
    void *globals;
    JINJA_TRY(jinja_run_alloc(run, j->tree.n_names, sizeof(jinja_value), &globals));
    run->globals = globals;
    for (uint32_t i = 0; i < j->tree.n_names; i++) {
        const jinja_builtin *function = jinja_function_find(j->tree.name_texts[i]);
        const str name = j->tree.name_texts[i];
        const json_t *given = json_object_getn(variables, name.data, name.len);
        if (given != NULL) {
            JINJA_TRY(jinja_from_json(run, given, &run->globals[i]));
        } else if (function != NULL) {
            void *bound;
            JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_bound), &bound));
            *(jinja_bound *)bound = (jinja_bound){.builtin = function};
            run->globals[i] = (jinja_value){.kind = JINJA_BUILTIN, .as.bound = bound};
        }
    }
    return WEFT_OK;
}

static weft_status render_into(jinja_run *run, const jinja *j, const json_t *variables, buf *out) {
    jinja_writer text;
    jinja_writer_init(&text, run);
    run->out = &text;
    JINJA_TRY(set_globals(run, j, variables));
    JINJA_TRY(jinja_exec(run, &j->tree.body));
    if (!buf_reserve(out, text.len)) {
        return jinja_run_fail(run, WEFT_LIMIT, "no room for %zu bytes of output", text.len);
    }
    buf_append_str(out, jinja_text(jinja_writer_value(&text)));
    return WEFT_OK;
}
