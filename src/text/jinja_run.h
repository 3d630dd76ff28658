/* jinja_run.h - one render: its memory, limits, scopes and output, and what the parts of the
 * interpreter promise each other.
 *
 *   jinja_eval.c  statements      jinja_expr.c    expressions     jinja_call.c   calls, macros
 *   jinja_ops.c   operators       jinja_access.c  a.b, a[b]       jinja_format.c str() and repr()
 *   jinja_json.c  JSON in, out    jinja_run.c     the state itself
 *
 * Everything a render makes lives in its arena and goes with it. Every call that can fail
 * returns the status and has written the message with line and column.
 *
 * Threads: a run belongs to one thread.
 */
#ifndef WEFT_TEXT_JINJA_RUN_H
#define WEFT_TEXT_JINJA_RUN_H

#include "base/arena.h"
#include "base/status.h"
#include "text/jinja.h"
#include "text/jinja_builtins.h"
#include "text/jinja_parse.h"
#include "text/jinja_source.h"
#include "text/jinja_tree.h"
#include "text/jinja_value.h"
#include "text/json_reader.h"

/* Evaluations inside each other: expressions, bodies, macro calls. Each costs a few hundred
 * bytes of the thread's stack. */
#define JINJA_EVAL_DEPTH_MAX 1000

typedef struct jinja_slot {
    uint32_t name;
    jinja_value value;
} jinja_slot;

/* The variables of one scope. The outermost scope is run->globals, indexed by name. */
typedef struct jinja_frame {
    struct jinja_frame *parent; /* NULL: run->globals comes next */
    jinja_slot *slots;
    uint32_t count;
    uint32_t capacity;
} jinja_frame;

/* A string under construction, in the arena. */
typedef struct jinja_writer {
    jinja_run *run;
    char *data;
    size_t len;
    size_t capacity;
} jinja_writer;

typedef enum jinja_flow { JINJA_FLOW_NEXT, JINJA_FLOW_BREAK, JINJA_FLOW_CONTINUE } jinja_flow;

struct jinja_run {
    arena memory;
    const jinja_tree *tree;
    const jinja_source *source;
    jinja_options options;
    weft_error *err;
    uint64_t n_steps;
    uint64_t steps_max;
    uint64_t random_state; /* of the filter random */
    uint32_t depth;
    uint32_t at;          /* source offset of what is being evaluated, for messages */
    jinja_value *globals; /* [tree->n_names] */
    jinja_frame *frame;   /* innermost scope; NULL at the top level */
    jinja_writer *out;
    jinja_flow flow;
};

typedef struct jinja_macro {
    const jinja_node *node; /* MACRO or CALL_BLOCK */
    jinja_frame *frame;     /* where it was defined */
} jinja_macro;

typedef struct jinja_loop {
    const jinja_node *node;
    jinja_frame *outer; /* scope around the loop: recursion starts there */
    jinja_frame *test_frame;
    jinja_list source; /* the items, of which next are taken */
    uint32_t next;
    bool has_length; /* no filter, or every item was tested */
    bool has_after;
    jinja_value after; /* item tested ahead of time */
    jinja_value current, before;
    int64_t index0;
    uint32_t depth0;
    bool has_changed;
    jinja_list changed; /* arguments of the last loop.changed() */
} jinja_loop;

/* jinja_run.c */
weft_status jinja_run_fail(jinja_run *run, weft_status code, const char *fmt, ...)
    WEFT_PRINTF(3, 4);
weft_status jinja_run_step(jinja_run *run, uint64_t n) WEFT_NODISCARD; /* counts work done */
weft_status jinja_run_enter(jinja_run *run) WEFT_NODISCARD;
void jinja_run_leave(jinja_run *run);
weft_status jinja_run_alloc(jinja_run *run, size_t n, size_t size, void **out) WEFT_NODISCARD;

jinja_value jinja_run_lookup(const jinja_run *run, uint32_t name, str text);
weft_status jinja_frame_create(jinja_run *run, jinja_frame *parent,
                               jinja_frame **out) WEFT_NODISCARD;
/* frame NULL is the top level. */
weft_status jinja_frame_set(jinja_run *run, jinja_frame *frame, uint32_t name,
                            jinja_value value) WEFT_NODISCARD;

void jinja_writer_init(jinja_writer *w, jinja_run *run);
weft_status jinja_write(jinja_writer *w, str s) WEFT_NODISCARD;
weft_status jinja_write_char(jinja_writer *w, char c) WEFT_NODISCARD;
weft_status jinja_write_cp(jinja_writer *w, uint32_t cp) WEFT_NODISCARD;
weft_status jinja_write_repeat(jinja_writer *w, str s, int64_t times) WEFT_NODISCARD;
jinja_value jinja_writer_value(const jinja_writer *w); /* valid as long as the run */

weft_status jinja_list_init(jinja_run *run, jinja_list *list, size_t capacity) WEFT_NODISCARD;
weft_status jinja_list_push(jinja_run *run, jinja_list *list, jinja_value v) WEFT_NODISCARD;
weft_status jinja_list_value(jinja_run *run, jinja_kind kind, const jinja_list *list,
                             jinja_value *out) WEFT_NODISCARD; /* takes over the items */
weft_status jinja_iter_value(jinja_run *run, const char *type_name, const jinja_list *items,
                             jinja_value *out) WEFT_NODISCARD;
weft_status jinja_dict_create(jinja_run *run, size_t capacity, jinja_dict **out) WEFT_NODISCARD;
weft_status jinja_dict_set(jinja_run *run, jinja_dict *d, jinja_value key,
                           jinja_value value) WEFT_NODISCARD;
jinja_value jinja_dict_value(jinja_dict *d);
/* The items of anything iterable; a generator is used up by it. Lists are borrowed. */
weft_status jinja_iterate(jinja_run *run, jinja_value v, jinja_list *out) WEFT_NODISCARD;
weft_status jinja_next_item(jinja_run *run, jinja_value v, jinja_value *out,
                            bool *is_end) WEFT_NODISCARD; /* of iter(v), the first item only */

/* jinja_expr.c and jinja_eval.c */
weft_status jinja_eval(jinja_run *run, const jinja_node *n, jinja_value *out) WEFT_NODISCARD;
weft_status jinja_exec(jinja_run *run, const jinja_nodes *body) WEFT_NODISCARD;
weft_status jinja_exec_captured(jinja_run *run, const jinja_nodes *body,
                                jinja_value *out) WEFT_NODISCARD; /* the text as a string */
weft_status jinja_assign(jinja_run *run, const jinja_node *target, jinja_frame *frame,
                         jinja_value value) WEFT_NODISCARD;
weft_status jinja_loop_recurse(jinja_run *run, const jinja_loop *loop, jinja_value items,
                               jinja_value *out) WEFT_NODISCARD;
/* The loop's next item, tested; has is false at the end. */
weft_status jinja_loop_pull(jinja_run *run, jinja_loop *loop, jinja_value *out,
                            bool *has) WEFT_NODISCARD;

/* jinja_call.c */
weft_status jinja_call_value(jinja_run *run, jinja_value callee, const jinja_call *call,
                             jinja_value *out) WEFT_NODISCARD;
weft_status jinja_call_builtin(jinja_run *run, const jinja_builtin *b, jinja_value self,
                               const jinja_call *call, jinja_value *out) WEFT_NODISCARD;
weft_status jinja_eval_call(jinja_run *run, const jinja_node *n, const jinja_value *caller,
                            jinja_value *out) WEFT_NODISCARD;
weft_status jinja_eval_filter(jinja_run *run, const jinja_node *n, jinja_value value,
                              jinja_value *out) WEFT_NODISCARD; /* FILTER and TEST */

/* jinja_ops.c */
weft_status jinja_equal(jinja_run *run, jinja_value a, jinja_value b, bool *out) WEFT_NODISCARD;
/* a < b for LT and so on; an error where Python has no order. */
weft_status jinja_compare(jinja_run *run, jinja_op op, jinja_value a, jinja_value b,
                          bool *out) WEFT_NODISCARD;
weft_status jinja_contains(jinja_run *run, jinja_value container, jinja_value item,
                           bool *out) WEFT_NODISCARD;
weft_status jinja_binary(jinja_run *run, jinja_op op, jinja_value a, jinja_value b,
                         jinja_value *out) WEFT_NODISCARD;
weft_status jinja_sign(jinja_run *run, jinja_op op, jinja_value v, jinja_value *out) WEFT_NODISCARD;

/* jinja_access.c */
weft_status jinja_get_attribute(jinja_run *run, jinja_value object, str name,
                                const jinja_method_set *methods, jinja_value *out) WEFT_NODISCARD;
weft_status jinja_get_item(jinja_run *run, jinja_value object, jinja_value key,
                           jinja_value *out) WEFT_NODISCARD;
weft_status jinja_get_slice(jinja_run *run, jinja_value object, const jinja_value part[3],
                            jinja_value *out) WEFT_NODISCARD; /* from, to, step; none if absent */
const jinja_builtin *jinja_method_of(jinja_value object, const jinja_method_set *methods);
weft_status jinja_undefined_fail(jinja_run *run, jinja_value undefined);

/* jinja_format.c */
weft_status jinja_write_str(jinja_writer *w, jinja_value v) WEFT_NODISCARD;
weft_status jinja_write_repr(jinja_writer *w, jinja_value v) WEFT_NODISCARD;
weft_status jinja_to_str(jinja_run *run, jinja_value v, str *out) WEFT_NODISCARD;
weft_status jinja_repr(jinja_run *run, jinja_value v, str *out) WEFT_NODISCARD;
weft_status jinja_ascii(jinja_run *run, jinja_value v, str *out) WEFT_NODISCARD; /* repr, ASCII */
#define JINJA_FLOAT_TEXT_MAX 32
/* Python's repr of a float: the shortest digits that read back. */
void jinja_float_format(char out[JINJA_FLOAT_TEXT_MAX], double d);

/* jinja_printf.c: "format" % args and "format".format(args) */
weft_status jinja_percent(jinja_run *run, jinja_value format, jinja_value args,
                          jinja_value *out) WEFT_NODISCARD;
weft_status jinja_str_format(jinja_run *run, jinja_value self, const jinja_call *call,
                             jinja_value *out) WEFT_NODISCARD;
weft_status jinja_str_format_map(jinja_run *run, jinja_value self, const jinja_value *args,
                                 jinja_value *out) WEFT_NODISCARD;

/* jinja_json.c. Texts without escapes stay views of the JSON, which must outlive the run. */
weft_status jinja_read_value(jinja_run *run, json_reader *r, json_event event,
                             jinja_value *out) WEFT_NODISCARD; /* what the event begins */
/* A whole document; what is wrong with it is said behind what, as in "variables: line 1, ...". */
weft_status jinja_read_json(jinja_run *run, str text, const char *what,
                            jinja_value *out) WEFT_NODISCARD;
weft_status jinja_to_json(jinja_run *run, jinja_value self, const jinja_value *args,
                          jinja_value *out) WEFT_NODISCARD;

/* jinja.c: a render in steps, for callers that make the variables themselves. out lasts as long as
 * the run, which is good for one render. */
weft_status jinja_run_create(jinja_run **out, const jinja *j, const jinja_options *options,
                             weft_error *err) WEFT_NODISCARD;
void jinja_run_destroy(jinja_run **run);
weft_status jinja_run_render(jinja_run *run, const jinja_dict *variables, str *out) WEFT_NODISCARD;

#endif /* WEFT_TEXT_JINJA_RUN_H */
