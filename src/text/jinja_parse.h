/* jinja_parse.h - tokens become a tree.
 *
 * The grammar is jinja2's. Nesting is bounded by JINJA_DEPTH_MAX. What a chat template cannot
 * have (include, import, extends, autoescape) is refused by name.
 */
#ifndef WEFT_TEXT_JINJA_PARSE_H
#define WEFT_TEXT_JINJA_PARSE_H

#include "base/arena.h"
#include "base/status.h"
#include "base/strmap.h"
#include "text/jinja_source.h"
#include "text/jinja_tree.h"

typedef struct jinja_tree {
    jinja_nodes body;
    strmap names; /* variable name -> number below n_names; keys live in the arena */
    uint32_t n_names;
    str *name_texts; /* by number */
    /* The numbers of names with a meaning of their own. */
    uint32_t name_loop, name_caller, name_varargs, name_kwargs;
} jinja_tree;

/* Nodes and texts live in memory. Free the names with jinja_tree_deinit in any case. */
weft_status jinja_parse(jinja_tree *out, arena *memory, const jinja_source *source,
                        weft_error *err) WEFT_NODISCARD;
void jinja_tree_deinit(jinja_tree *t);

#endif /* WEFT_TEXT_JINJA_PARSE_H */
