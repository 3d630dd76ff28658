/* jinja.c - the public face: compile once, render many times.
 *
 * A compiled template is one arena with the normalised source and the tree, plus the table of
 * variable names. Rendering makes a jinja_run with an arena of its own, reads the variables into
 * it, and walks the tree.
 */
#include "text/jinja.h"

#include "text/jinja_run.h"

#define TREE_BYTES_MAX ((size_t)256 << 20) /* of JINJA_SOURCE_BYTES_MAX of source, at worst */

struct jinja {
    arena memory;
    jinja_source source;
    jinja_tree tree;
};

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

weft_status jinja_run_create(jinja_run **out, const jinja *j, const jinja_options *options,
                             weft_error *err) {
    const jinja_options none = {0};
    jinja_run *run = mem_zalloc(MEM_TEXT, 1, sizeof(*run));
    if (run == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: no memory to render it", j->source.name);
    }
    run->tree = &j->tree;
    run->source = &j->source;
    run->options = options != NULL ? *options : none;
    run->err = err;
    run->steps_max = run->options.steps_max != 0 ? run->options.steps_max : JINJA_STEPS_MAX;
    arena_init(&run->memory, MEM_TEXT,
               run->options.memory_bytes_max != 0 ? run->options.memory_bytes_max
                                                  : JINJA_MEMORY_BYTES_MAX);
    *out = run;
    return WEFT_OK;
}

void jinja_run_destroy(jinja_run **run) {
    if (*run == NULL) {
        return;
    }
    arena_deinit(&(*run)->memory);
    mem_free(*run);
    *run = NULL;
}

/* Fills run->globals with the built-in functions and the given variables. */
static weft_status set_globals(jinja_run *run, const jinja_dict *variables) {
    void *globals;
    const jinja_tree *tree = run->tree;
    JINJA_TRY(jinja_run_alloc(run, tree->n_names, sizeof(jinja_value), &globals));
    run->globals = globals;
    for (uint32_t i = 0; i < tree->n_names; i++) {
        const jinja_builtin *function = jinja_function_find(tree->name_texts[i]);
        const jinja_value *given = jinja_dict_find(variables, tree->name_texts[i]);
        if (given != NULL) {
            run->globals[i] = *given;
        } else if (function != NULL) {
            void *bound;
            JINJA_TRY(jinja_run_alloc(run, 1, sizeof(jinja_bound), &bound));
            *(jinja_bound *)bound = (jinja_bound){.builtin = function};
            run->globals[i] = (jinja_value){.kind = JINJA_BUILTIN, .as.bound = bound};
        }
    }
    return WEFT_OK;
}

weft_status jinja_run_render(jinja_run *run, const jinja_dict *variables, str *out) {
    jinja_writer text;
    jinja_writer_init(&text, run);
    run->out = &text;
    JINJA_TRY(set_globals(run, variables));
    JINJA_TRY(jinja_exec(run, &run->tree->body));
    *out = jinja_text(jinja_writer_value(&text));
    return WEFT_OK;
}

static weft_status read_variables(jinja_run *run, str json, jinja_dict **out) {
    jinja_value v;
    JINJA_TRY(jinja_read_json(run, json, "variables are not valid JSON", &v));
    if (v.kind != JINJA_DICT) {
        return weft_fail(run->err, WEFT_INVALID, "variables must be a JSON object");
    }
    *out = v.as.dict;
    return WEFT_OK;
}

weft_status jinja_render(const jinja *j, str variables_json, const jinja_options *options, buf *out,
                         weft_error *err) {
    jinja_run *run = NULL;
    jinja_dict *variables = NULL;
    str text;
    weft_status status = jinja_run_create(&run, j, options, err);
    if (status == WEFT_OK) {
        status = read_variables(run, variables_json, &variables);
    }
    if (status == WEFT_OK) {
        status = jinja_run_render(run, variables, &text);
    }
    if (status == WEFT_OK && !buf_append_str(out, text)) {
        status = weft_fail(err, WEFT_LIMIT, "%s: no room for %zu bytes of output", j->source.name,
                           text.len);
    }
    jinja_run_destroy(&run);
    return status;
}
