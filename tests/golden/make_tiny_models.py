#!/usr/bin/env python3
"""Makes the tiny random models of tests/golden/fixtures/tiny and their reference logits.

usage: make_tiny_models.py [NAME...]       all models, or those named

Each model is built by transformers from a small configuration, filled with random weights that
were first rounded to the type they are stored in, run in float32 over one fixed list of token
ids, and written as GGUF by the conventions of llama.cpp's converter:

  - llama: the rows of q and k (and of their biases) are re-ordered within each head, so that the
    rotation pairs neighbours (2i, 2i + 1) where transformers pairs halves (i, i + d/2);
  - "llama3" rope scaling becomes one tensor of frequency divisors, rope_freqs.weight;
  - gemma3: norm weights are stored plus one; no key says which layers slide (every sixth does
    not), nor what the query scale is (1/sqrt(key_length), but 1/sqrt(n_embd/n_heads) for the
    62 layers of the 27B model).

Only this script needs torch and transformers; the tests read the files it leaves. The seeds are
fixed, so that the same versions of both write the same bytes. Every model is checked to be
a useful witness: the logits spread over several units, and depend strongly on where tokens stand.
"""
import json
import math
import os
import sys
import zlib

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM)

HERE = os.path.dirname(os.path.abspath(__file__))
OUT_DIR = os.path.join(HERE, "fixtures", "tiny")

MERGES = ["h e", "t h", "i n", "e r", "th e", "\u0120 a"]
N_VOCAB = 256 + len(MERGES) + 2
N_TOKENS = 96
MARGIN_MIN = 1e-3  # of the spread, between the first and the second place, at every position
SEEDS_MAX = 200

F32 = gguf.GGMLQuantizationType.F32
F16 = gguf.GGMLQuantizationType.F16
BF16 = gguf.GGMLQuantizationType.BF16
Q8_0 = gguf.GGMLQuantizationType.Q8_0

FILE_TYPES = {F32: gguf.LlamaFileType.ALL_F32, F16: gguf.LlamaFileType.MOSTLY_F16,
              BF16: gguf.LlamaFileType.MOSTLY_BF16, Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0}


def llama(**changes):
    base = dict(vocab_size=N_VOCAB, hidden_size=64, intermediate_size=72, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
                rms_norm_eps=1e-5, tie_word_embeddings=False,
                rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    return LlamaConfig(**{**base, **changes})


def gemma3(local=None, scaling=None, **changes):
    rope = dict(full_attention=dict(rope_type="default", rope_theta=1000000.0),
                sliding_attention=dict(rope_type="default", rope_theta=local or 10000.0))
    rope["full_attention"].update(scaling or {})
    base = dict(vocab_size=N_VOCAB, hidden_size=48, intermediate_size=48, num_hidden_layers=7,
                num_attention_heads=2, num_key_value_heads=1, head_dim=32,
                query_pre_attn_scalar=32, sliding_window=32, max_position_embeddings=512,
                rms_norm_eps=1e-6, tie_word_embeddings=True, final_logit_softcapping=None,
                attn_logit_softcapping=None, rope_parameters=rope)
    return Gemma3TextConfig(**{**base, **changes})


def qwen3(**changes):
    base = dict(vocab_size=N_VOCAB, hidden_size=64, intermediate_size=72, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, head_dim=24,
                max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=False,
                rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    return Qwen3Config(**{**base, **changes})


def qwen3moe(**changes):
    base = dict(vocab_size=N_VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                num_attention_heads=4, num_key_value_heads=2, head_dim=32,
                moe_intermediate_size=40, num_experts=8, num_experts_per_tok=3,
                norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
                max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=False,
                rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    return Qwen3MoeConfig(**{**base, **changes})


# Name, configuration, type of the matrices, extra choices of the writer. Two have an epsilon large
# enough to be seen.
MODELS = [
    ("llama_gqa", llama(rms_norm_eps=0.02), F32, {}),
    ("llama3_rope", llama(
        rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=32)), F16, {}),
    ("llama_tied", llama(num_hidden_layers=3, num_key_value_heads=1,
                         tie_word_embeddings=True), F16, {}),
    ("llama_mha", llama(hidden_size=48, num_attention_heads=3, num_key_value_heads=3, head_dim=24,
                        intermediate_size=64), BF16, dict(key_length=True)),
    ("llama_bias", llama(num_key_value_heads=4, hidden_size=56, attention_bias=True,
                         mlp_bias=True), F16, {}),
    ("llama_q8_0", llama(num_hidden_layers=3, head_dim=32, intermediate_size=96), Q8_0,
     dict(key_length=True)),
    ("gemma3", gemma3(), F16, {}),
    ("gemma3_scaled", gemma3(local=4000.0, scaling=dict(rope_type="linear", factor=4.0),
                             sliding_window=20, num_attention_heads=4, num_key_value_heads=2,
                             head_dim=16, query_pre_attn_scalar=16, intermediate_size=64,
                             rms_norm_eps=0.02, final_logit_softcapping=12.0), F16,
     dict(local_base=True)),
    ("gemma3_27b", gemma3(num_hidden_layers=62, hidden_size=24, intermediate_size=8,
                          num_attention_heads=2, head_dim=8, query_pre_attn_scalar=12), F16, {}),
    ("qwen3", qwen3(), F16, dict(key_length=True)),
    ("qwen3_yarn", qwen3(rope_parameters=dict(
        rope_type="yarn", rope_theta=5000.0, factor=4.0, beta_fast=3.0, beta_slow=0.5,
        original_max_position_embeddings=48)), F16, dict(key_length=True)),
    ("qwen3moe", qwen3moe(), F16, dict(key_length=True)),
    ("qwen3moe_q8_0", qwen3moe(moe_intermediate_size=32, num_experts=12, num_experts_per_tok=4),
     Q8_0, dict(key_length=True)),
]

LLAMA_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
QWEN3_NAMES = {
    **LLAMA_NAMES, "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate": "ffn_gate_inp",
}
GEMMA3_NAMES = {
    **LLAMA_NAMES, "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


# What a configuration is called in a GGUF file, the class that runs it, names of its tensors.
ARCHS = {
    LlamaConfig: ("llama", LlamaForCausalLM, LLAMA_NAMES),
    Gemma3TextConfig: ("gemma3", Gemma3ForCausalLM, GEMMA3_NAMES),
    Qwen3Config: ("qwen3", Qwen3ForCausalLM, QWEN3_NAMES),
    Qwen3MoeConfig: ("qwen3moe", Qwen3MoeForCausalLM, QWEN3_NAMES),
}


def main():
    wanted = sys.argv[1:] or [m[0] for m in MODELS]
    unknown = set(wanted) - {m[0] for m in MODELS}
    if unknown:
        sys.exit(f"no such model: {' '.join(sorted(unknown))}")
    os.makedirs(OUT_DIR, exist_ok=True)
    ids = np.random.default_rng(7).integers(0, N_VOCAB - 2, N_TOKENS).tolist()
    with open(os.path.join(OUT_DIR, "ids.json"), "w") as f:
        json.dump(ids, f)
        f.write("\n")
    for name, config, dtype, options in MODELS:
        if name in wanted:
            make(OUT_DIR, name, config, dtype, options, ids)


def make(out_dir, name, config, dtype, options, ids):
    config._attn_implementation = "eager"
    model = ARCHS[type(config)][1](config).float().eval()
    for attempt in range(SEEDS_MAX):
        stored = fill(model, dtype, seed=[zlib.crc32(name.encode()), attempt])
        logits = run(model, ids)
        if least_margin(logits) > MARGIN_MIN:
            break
    report(name, model, ids, logits)
    np.save(os.path.join(out_dir, name + ".npy"), logits)
    path = os.path.join(out_dir, name + ".gguf")
    write_gguf(path, name, config, dtype, options, stored)
    print(f"  {os.path.getsize(path)} bytes")


def fill(model, dtype, seed):
    """Gives every parameter its random value, as its stored type rounds it. Returns, by name, what
    the file will hold: float32 arrays, or the bytes of blocks."""
    rng = np.random.default_rng(seed)
    stored = {}
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = (draw(rng, name, tuple(p.shape), model.config)).astype(np.float32)
            is_router = name.endswith("mlp.gate.weight")  # converters leave it in F32
            if p.ndim >= 2 and dtype != F32 and not is_router:
                stored[name] = (quantize(x, dtype), dtype)
                x = dequantize(stored[name][0], dtype)
            else:
                stored[name] = (x, F32)
            p.copy_(torch.from_numpy(np.ascontiguousarray(x)))
    return stored


def draw(rng, name, shape, config):
    """Scales that keep each part of the model visible in the logits: attention scores of about
    two units, norms away from one, a spread of ten units or more at the head."""
    x = rng.standard_normal(shape)
    is_gemma = isinstance(config, Gemma3TextConfig)
    if "norm" in name:
        return 0.3 * x if is_gemma else 1.0 + 0.3 * x
    if name.endswith(".bias"):
        return 0.3 * x
    fan_in = shape[-1]
    if name.endswith("embed_tokens.weight"):
        return x * ((3.0 if config.tie_word_embeddings else 8.0) / math.sqrt(fan_in))
    gain = 3.0 if name == "lm_head.weight" else 1.5
    return x * (gain / math.sqrt(fan_in))


def run(model, ids, positions=None):
    with torch.no_grad():
        out = model(torch.tensor([ids]), use_cache=False,
                    position_ids=None if positions is None else torch.tensor([positions]))
    return out.logits[0].float().numpy()


def least_margin(logits):
    best = np.sort(logits, axis=1)[:, -2:]
    return float((best[:, 1] - best[:, 0]).min() / (logits.max() - logits.min()))


def report(name, model, ids, logits):
    """The witness must be worth hearing: a wide spread, no tie for the first place that a rounding
    error could turn, and logits that change when the same tokens stand at other positions."""
    spread = float(logits.max() - logits.min())
    margin = least_margin(logits)
    moved = run(model, ids, positions=[3 * i for i in range(len(ids))])
    shuffled = run(model, ids[:1] + ids[1:-1][::-1] + ids[-1:])
    change = float(np.abs(moved - logits).max()) / spread
    change_last = float(np.abs(shuffled[-1] - logits[-1]).max()) / spread
    print(f"{name}: spread {spread:.2f}, least margin {margin:.1e} of it, "
          f"positions move logits by {change:.2f}, order by {change_last:.2f}")
    assert spread > 5.0
    assert margin > MARGIN_MIN
    assert min(change, change_last) > 0.05


def write_gguf(path, name, config, dtype, options, stored):
    is_gemma = isinstance(config, Gemma3TextConfig)
    w = gguf.GGUFWriter(path, ARCHS[type(config)][0])
    w.add_type("model")
    w.add_name("tiny random " + name)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_file_type(FILE_TYPES[dtype])
    if is_gemma:
        add_gemma3_keys(w, config, options)
    else:
        add_llama_keys(w, config, options)
    if isinstance(config, Qwen3MoeConfig):
        w.add_expert_count(config.num_experts)
        w.add_expert_used_count(config.num_experts_per_tok)
        w.add_expert_feed_forward_length(config.moe_intermediate_size)
    add_tokenizer(w)
    for hf_name, (data, kind) in stored.items():
        add_tensor(w, config, hf_name, data, kind)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def add_llama_keys(w, config, options):
    rope = config.rope_parameters
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_vocab_size(config.vocab_size)
    w.add_rope_dimension_count(config.head_dim)
    if options.get("key_length"):
        w.add_key_length(config.head_dim)
        w.add_value_length(config.head_dim)
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        w.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        w.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    if rope["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(rope, config.head_dim))


def llama3_divisors(rope, head_dim):
    """By how much each frequency is divided: nothing for short waves, the factor for waves longer
    than the original context, and a ramp between the two."""
    freqs = 1.0 / rope["rope_theta"] ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)
    context = rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    out = []
    for wave in 2.0 * math.pi / freqs:
        if wave < context / high:
            out.append(1.0)
        elif wave > context / low:
            out.append(factor)
        else:
            smooth = (context / wave - low) / (high - low)
            out.append(1.0 / ((1.0 - smooth) / factor + smooth))
    assert len(set(out)) >= 3, "the scaling should show all three ranges"
    return np.array(out, dtype=np.float32)


def add_gemma3_keys(w, config, options):
    rope = config.rope_parameters
    w.add_key_length(config.head_dim)
    w.add_value_length(config.head_dim)
    w.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    w.add_sliding_window(config.sliding_window)
    if rope["full_attention"]["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["full_attention"]["factor"])
    if options.get("local_base"):
        w.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    if config.final_logit_softcapping:
        w.add_final_logit_softcapping(config.final_logit_softcapping)


def add_tokenizer(w):
    tokens = byte_names() + [m.replace(" ", "") for m in MERGES] + ["<s>", "</s>"]
    assert len(tokens) == N_VOCAB
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.NORMAL] * (N_VOCAB - 2) + [gguf.TokenType.CONTROL] * 2)
    w.add_token_merges(MERGES)
    w.add_bos_token_id(N_VOCAB - 2)
    w.add_eos_token_id(N_VOCAB - 1)
    w.add_add_bos_token(True)


def byte_names():
    """GPT-2's printable stand-in for each byte, in byte order."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names, shift = [], 0
    for b in range(256):
        if b in kept:
            names.append(chr(b))
        else:
            names.append(chr(256 + shift))
            shift += 1
    return names


def add_tensor(w, config, hf_name, data, kind):
    is_gemma = isinstance(config, Gemma3TextConfig)
    names = ARCHS[type(config)][2]
    if ".mlp.experts." in hf_name:
        add_experts(w, hf_name, data, kind)
        return
    stem, suffix = hf_name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        stem = f"blk.{layer}.{names[part]}"
    else:
        part, stem = stem, names[stem]
    if is_gemma and "norm" in part:
        data = data + np.float32(1.0)
    if isinstance(config, LlamaConfig) and part in ("self_attn.q_proj", "self_attn.k_proj"):
        data = pair_neighbours(data, config.num_attention_heads if part[10] == "q"
                               else config.num_key_value_heads)
    w.add_tensor(f"{stem}.{suffix}", np.ascontiguousarray(data), raw_dtype=kind)


def add_experts(w, hf_name, data, kind):
    """transformers stacks the experts, gate above up in one tensor."""
    layer = hf_name.split(".")[2]
    if hf_name.endswith("gate_up_proj"):
        parts = zip(("gate", "up"), np.split(data, 2, axis=1))
    else:
        parts = [("down", data)]
    for part, x in parts:
        w.add_tensor(f"blk.{layer}.ffn_{part}_exps.weight", np.ascontiguousarray(x),
                     raw_dtype=kind)


def pair_neighbours(rows, n_heads):
    """Within each head, row i and row i + d/2 become rows 2i and 2i + 1."""
    half = rows.shape[0] // n_heads // 2
    grouped = rows.reshape(n_heads, 2, half, *rows.shape[1:])
    return grouped.swapaxes(1, 2).reshape(rows.shape)


if __name__ == "__main__":
    main()
