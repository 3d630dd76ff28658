/* layers.c - the steps of a forward pass that architectures share.
 *
 * Each step takes what it needs from scratch, enqueues its operations and gives the scratch back,
 * but for the hidden states, which stay to the end. plan_scratch_bytes counts exactly the tensors
 * taken here: change both together (tests/unit/test_executor.c compares).
 */
#include "model/layers.h"

#include "base/check.h"

static tensor take(const forward *f, uint32_t rows, uint32_t cols) {
    return device_scratch_take(f->scratch, WEFT_DTYPE_F32, rows, cols);
}

hidden hidden_start(const forward *f, const geometry *g, const rope_layer *rope) {
    const uint32_t t = f->batch->n_rows;
    hidden s = {.batch = f->batch,
                .rope = rope,
                .x = take(f, t, g->n_embd),
                .h = take(f, t, g->n_embd),
                .y = take(f, t, g->n_embd)};
    for (uint32_t i = 0; i < g->n_groups; i++) {
        s.cos_sin[i] = take(f, t, rope[i].inv_freq.cols * 2);
        const op_rope_table op = {.cos_sin = s.cos_sin[i],
                                  .inv_freq = rope[i].inv_freq,
                                  .batch = f->batch,
                                  .mscale = rope[i].mscale};
        f->dev->ops->rope_table(f->dev, &op);
    }
    return s;
}

static void pick_rows(const forward *f, const batch *b, tensor x, tensor y) {
    const op_gather op = {.y = y, .x = x, .rows = b->out_row, .n = b->n_out};
    f->dev->ops->gather(f->dev, &op);
}

/* Only the rows whose logits are wanted go on, in layers of one KV group. h moves to where y was,
 * and y to where h was: neither needs more scratch. */
static void hidden_keep_out(const forward *f, uint32_t group, hidden *s) {
    const batch *b = s->batch;
    WEFT_DEBUG_ASSERT(b->out != NULL && b->out->n_rows == b->n_out);
    hidden kept = {
        .batch = b->out, .rope = s->rope, .x = take(f, b->n_out, s->x.cols), .h = s->y, .y = s->h};
    kept.h.rows = kept.y.rows = b->n_out;
    kept.cos_sin[group] = take(f, b->n_out, s->cos_sin[group].cols);
    pick_rows(f, b, s->x, kept.x);
    pick_rows(f, b, s->h, kept.h);
    pick_rows(f, b, s->cos_sin[group], kept.cos_sin[group]);
    *s = kept;
}

static void norm_heads(const forward *f, tensor x, tensor w, uint32_t n_heads, float eps) {
    if (w.data != NULL) {
        const op_rmsnorm op = {.y = x, .x = x, .w = w, .groups = n_heads, .eps = eps};
        f->dev->ops->rmsnorm(f->dev, &op);
    }
}

static void rotate(const forward *f, tensor x, tensor cos_sin, uint32_t n_heads,
                   rope_pairing pairing) {
    const op_rope op = {.x = x, .cos_sin = cos_sin, .n_heads = n_heads, .pairing = pairing};
    f->dev->ops->rope(f->dev, &op);
}

static void linear_run(const forward *f, const linear *l, tensor x, tensor y) {
    const op_linear op = {.x = x, .n = 1, .w = {l->w}, .y = {y}, .bias = {l->bias}};
    f->dev->ops->linear(f->dev, &op);
}

static void sum_ranks(void *arg, float *x, size_t stride, uint32_t n_rows, uint32_t n_cols) {
    dist_sum(arg, x, stride, n_rows, n_cols);
}

/* Each rank's columns gave a part of y: adds them all up. */
static void add_ranks(const forward *f, tensor y) {
    if (f->dist != NULL) {
        const op_host op = {.x = y, .fn = sum_ranks, .arg = f->dist};
        f->dev->ops->host(f->dev, &op);
    }
}

void attention_run(const forward *f, const geometry *g, const attention_layer *a, uint32_t i,
                   hidden *s) {
    const uint32_t group = g->layer_group[i];
    const rope_pairing pairing = s->rope[group].pairing;
    const bool keeps_out = i + 1 == g->n_layers && s->batch->n_out < s->batch->n_rows;
    const device_kv kv = f->cache->layer[i];
    const device_ops *ops = f->dev->ops;
    const hidden all = *s;
    if (keeps_out) {
        hidden_keep_out(f, group, s);
    }
    const size_t mark = device_scratch_mark(f->scratch);
    const tensor k = take(f, all.x.rows, g->n_kv_heads * g->k_dim);
    const tensor v = take(f, all.x.rows, g->n_kv_heads * g->v_dim);
    const tensor q = take(f, s->x.rows, g->n_heads * g->k_dim);
    const tensor out = take(f, s->x.rows, g->n_heads * g->v_dim);

    /* Queries come last, to be left out where they have rows of their own. */
    const op_linear kvq = {.x = all.h,
                           .n = keeps_out ? 2 : 3,
                           .w = {a->k.w, a->v.w, a->q.w},
                           .y = {k, v, q},
                           .bias = {a->k.bias, a->v.bias, a->q.bias}};
    ops->linear(f->dev, &kvq);
    if (keeps_out) {
        linear_run(f, &a->q, s->h, q);
    }
    norm_heads(f, q, a->q_norm, g->n_heads, g->rms_eps);
    norm_heads(f, k, a->k_norm, g->n_kv_heads, g->rms_eps);
    rotate(f, q, s->cos_sin[group], g->n_heads, pairing);
    rotate(f, k, all.cos_sin[group], g->n_kv_heads, pairing);

    const op_kv_store store = {.kv = kv, .k = k, .v = v, .batch = all.batch};
    ops->kv_store(f->dev, &store);
    const op_attention attention = {.out = out,
                                    .q = q,
                                    .kv = kv,
                                    .batch = s->batch,
                                    .n_heads = g->n_heads,
                                    .window = g->groups[group].window,
                                    .scale = g->attn_scale,
                                    .softcap = g->attn_softcap};
    ops->attention(f->dev, &attention);
    linear_run(f, &a->o, out, s->y);
    add_ranks(f, s->y);
    device_scratch_release(f->scratch, mark);
}

void ffn_run(const forward *f, const ffn_layer *ffn, act_kind kind, tensor x, tensor y) {
    const uint32_t n_ff = ffn->gate.w.rows;
    const size_t mark = device_scratch_mark(f->scratch);
    const tensor gate = take(f, x.rows, n_ff);
    const tensor up = take(f, x.rows, n_ff);
    const op_linear both = {.x = x,
                            .n = 2,
                            .w = {ffn->gate.w, ffn->up.w},
                            .y = {gate, up},
                            .bias = {ffn->gate.bias, ffn->up.bias}};
    f->dev->ops->linear(f->dev, &both);
    const op_act_mul act = {.y = gate, .gate = gate, .up = up, .kind = kind};
    f->dev->ops->act_mul(f->dev, &act);
    linear_run(f, &ffn->down, gate, y);
    add_ranks(f, y);
    device_scratch_release(f->scratch, mark);
}

void experts_run(const forward *f, const geometry *g, const experts_layer *e, act_kind kind,
                 tensor x, tensor y) {
    const size_t mark = device_scratch_mark(f->scratch);
    const tensor logits = take(f, x.rows, g->routing.n_experts);
    linear_run(f, &e->router, x, logits);
    const op_experts op = {.y = y,
                           .x = x,
                           .logits = logits,
                           .routing = g->routing,
                           .gate = e->gate,
                           .up = e->up,
                           .down = e->down,
                           .kind = kind};
    f->dev->ops->experts(f->dev, &op);
    device_scratch_release(f->scratch, mark);
}

tensor head_run(const forward *f, const geometry *g, tensor norm, const linear *output, tensor x) {
    const tensor logits = take(f, x.rows, g->n_vocab);
    norm_run(f, g, norm, x, x);
    linear_run(f, output, x, logits);
    if (g->logit_softcap != 0.0f) {
        const op_softcap cap = {.y = logits, .cap = g->logit_softcap};
        f->dev->ops->softcap(f->dev, &cap);
    }
    return logits;
}

void norm_run(const forward *f, const geometry *g, tensor w, tensor x, tensor y) {
    const op_rmsnorm op = {.y = y, .x = x, .w = w, .groups = 1, .eps = g->rms_eps};
    f->dev->ops->rmsnorm(f->dev, &op);
}

void residual_add(const forward *f, tensor x, tensor y) {
    const op_add op = {.y = x, .x = y};
    f->dev->ops->add(f->dev, &op);
}

void residual_norm(const forward *f, const geometry *g, tensor w, tensor x, tensor r, tensor y) {
    const op_add_rmsnorm op = {.y = y, .x = x, .r = r, .w = w, .eps = g->rms_eps};
    f->dev->ops->add_rmsnorm(f->dev, &op);
}
