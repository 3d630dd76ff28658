#!/usr/bin/env python3
"""Makes the references of the two real models: what transformers predicts with the GGUF's weights.

usage: make_real_reference.py smollm2|gemma3 MODEL.gguf [OUT.npz]

Every tensor of the file is dequantised and put into the transformers model of its architecture, in
float32; so the reference differs from the engine by arithmetic alone, not by quantisation. The
text is a few prompts, each continued by the model's own samples at temperature one. When OUT.npz is
already there its token ids are used again, so that a new reference stays comparable.

What is kept, per position, in OUT.npz (a megabyte or less):

  sequences     [n]             lengths of the sequences, in order
  tokens        [T]             the token ids of all sequences, one after the other
  top_ids       [T][64]         the most likely next tokens, best first
  top_logprob   [T]             natural log of the best one's probability
  top_drop      [T][64] uint16  how far each lies below the best, in units of DROP_UNIT nats:
                                an error of a quarter of a thousandth, but all beyond 32 nats
                                (where no weight is left) count as 32
  rest_logprob  [T]             log of the probability of all other tokens together
  sha256                        of the GGUF

Only this script needs torch and transformers; the test reads the file it leaves.
"""
import hashlib
import os
import sys

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import (AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig,
                          LlamaForCausalLM)

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = 64
DROP_UNIT = 1.0 / 2048.0
ROWS_PER_SLICE = 64

WEAVER = """The weaver's house stood at the end of the lane, where the road gives up and becomes a \
path. She kept two looms: a narrow one by the window for ribbons and a broad one in the back room \
for blankets. In winter the whole village could hear the broad loom knocking until late, and \
people said that the snow would not settle before she had finished her row. One evening a stranger \
came to the door with a bundle of grey wool under his arm"""
TIDES = """Tides are caused mainly by the pull of the Moon, and to a lesser degree by that of the \
Sun. Because the pull is stronger on the near side of the Earth than on the far side, the water \
is stretched into two bulges, and most coasts pass through both of them each day. When the Sun and \
the Moon stand in line, at new and full moon, their effects add up"""
BREAD = """A plain loaf needs four things: flour, water, salt and time. Mix the flour and the \
water first and let them rest for half an hour; this saves most of the kneading. Then add the \
salt"""
CODE = """The following function returns the greatest common divisor of two positive integers.

def gcd(a, b):
"""
LETTER = """Dear Margaret,

Thank you for the long letter, and for the photographs of the garden. The children have put the \
one with the pear tree on the wall. You ask how the move went. In short"""
QUESTIONS = ["Why does bread rise, and what can go wrong?",
             "Tell me about three rivers in Europe and the cities on them.",
             "Write a short story about a lighthouse keeper who is afraid of the dark.",
             "How do I sort a list of words by length in Python?"]

# For each model the sequences: a length, and the prompts spread over it.
PLANS = {
    "smollm2": [(1024, [WEAVER, TIDES, CODE]), (1024, QUESTIONS)],
    "gemma3": [(1344, [WEAVER, TIDES, LETTER, BREAD]), (768, [CODE, BREAD, TIDES])],
}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in PLANS:
        sys.exit("usage: make_real_reference.py smollm2|gemma3 MODEL.gguf [OUT.npz]")
    name, path = sys.argv[1], sys.argv[2]
    out = sys.argv[3] if len(sys.argv) > 3 else os.path.join(HERE, "fixtures", name + ".npz")
    torch.manual_seed(1)
    reader = GGUFReader(path)
    model = {"llama": build_llama, "gemma3": build_gemma3}[field(reader, "general.architecture")](
        reader)
    if not os.path.exists(out):
        save(out, write_sequences(name, path, model))
    sequences = stored_sequences(out)
    parts = [reference(model, ids) for ids in sequences]
    arrays = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    save(out, sequences, sha256=np.array(sha256(path)), **arrays)
    print(f"{out}: {os.path.getsize(out)} bytes")


def save(out, sequences, **arrays):
    np.savez_compressed(out, sequences=np.array([len(s) for s in sequences], np.uint32),
                        tokens=np.concatenate(sequences).astype(np.uint32), **arrays)


def field(reader, key, default=None):
    found = reader.fields.get(key)
    return found.contents() if found else default


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


# ---- the model ----

def build_llama(reader):
    n_heads = field(reader, "llama.attention.head_count")
    n_kv_heads = field(reader, "llama.attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=field(reader, "llama.vocab_size"),
        hidden_size=field(reader, "llama.embedding_length"),
        intermediate_size=field(reader, "llama.feed_forward_length"),
        num_hidden_layers=field(reader, "llama.block_count"), num_attention_heads=n_heads,
        num_key_value_heads=n_kv_heads,
        max_position_embeddings=field(reader, "llama.context_length"),
        rms_norm_eps=field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters=dict(rope_type="default", rope_theta=field(reader, "llama.rope.freq_base")),
        tie_word_embeddings=True)
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}

    def change(part, x):
        if part in ("attn_q", "attn_k"):
            return pair_halves(x, n_heads if part == "attn_q" else n_kv_heads)
        return x

    return fill(LlamaForCausalLM, config, reader, names, change)


def build_gemma3(reader):
    config = Gemma3TextConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=field(reader, "gemma3.embedding_length"),
        intermediate_size=field(reader, "gemma3.feed_forward_length"),
        num_hidden_layers=field(reader, "gemma3.block_count"),
        num_attention_heads=field(reader, "gemma3.attention.head_count"),
        num_key_value_heads=field(reader, "gemma3.attention.head_count_kv"),
        head_dim=field(reader, "gemma3.attention.key_length"),
        query_pre_attn_scalar=field(reader, "gemma3.attention.key_length"),
        sliding_window=field(reader, "gemma3.attention.sliding_window"),
        max_position_embeddings=field(reader, "gemma3.context_length"),
        rms_norm_eps=field(reader, "gemma3.attention.layer_norm_rms_epsilon"),
        rope_parameters=dict(
            full_attention=dict(rope_type="default",
                                rope_theta=field(reader, "gemma3.rope.freq_base")),
            sliding_attention=dict(rope_type="default", rope_theta=10000.0)),
        tie_word_embeddings=True)
    names = {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
             "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
    return fill(Gemma3ForCausalLM, config, reader, names,
                lambda part, x: x - np.float32(1.0) if "norm" in part else x)


def fill(cls, config, reader, names, change):
    """Every tensor of the file goes to one parameter, and every parameter gets one."""
    names = {"token_embd": "embed_tokens", "output_norm": "norm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
             "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", **names}
    config._attn_implementation = "eager"
    model = cls(config).float().eval()
    left = dict(model.named_parameters())
    with torch.no_grad():
        for t in reader.tensors:
            stem = t.name.rsplit(".", 1)[0]
            layer, part = stem.split(".")[1:] if stem.startswith("blk.") else (None, stem)
            target = "model." + (f"layers.{layer}." if layer else "") + names[part] + ".weight"
            x = change(part, dequantize(t.data, t.tensor_type))
            p = left.pop(target)
            assert tuple(p.shape) == x.shape, f"{t.name}: {x.shape}, wanted {tuple(p.shape)}"
            p.copy_(torch.from_numpy(np.array(x, dtype=np.float32)))
    assert not left, f"parameters without a tensor: {sorted(left)}"
    return model


def pair_halves(rows, n_heads):
    """Within each head, rows 2i and 2i + 1 of the file become rows i and i + d/2."""
    half = rows.shape[0] // n_heads // 2
    return rows.reshape(n_heads, half, 2, -1).swapaxes(1, 2).reshape(rows.shape)


# ---- the text ----

def stored_sequences(path):
    with np.load(path) as kept:
        return np.split(kept["tokens"].astype(np.int64), np.cumsum(kept["sequences"])[:-1])


def write_sequences(name, path, model):
    """Each prompt gets its share of its sequence: itself, then samples. All prompts of a model are
    continued in one batch, unaware of each other, and then stand one after the other."""
    folder, file = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    start = [tokenizer.bos_token_id] if name == "gemma3" else []
    shares, prompts = [], []
    for length, texts in PLANS[name]:
        for i, text in enumerate(texts):
            shares.append(length * (i + 1) // len(texts) - length * i // len(texts))
            if texts is QUESTIONS:
                text = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
            prompts.append(start + tokenizer.encode(text, add_special_tokens=False))
    banned = [i for i, t in tokenizer.added_tokens_decoder.items() if t.special]
    pieces = sample(model, prompts, max(s - len(p) for s, p in zip(shares, prompts)) + 1, banned)
    out = []
    for length, texts in PLANS[name]:
        ids = list(start)
        for _ in texts:
            piece = pieces.pop(0)[len(start):]
            ids += piece[:shares.pop(0) - (len(start) if len(ids) == len(start) else 0)]
        assert len(ids) == length
        print(tokenizer.decode(ids))
        out.append(np.array(ids))
    return out


def sample(model, prompts, n_new, banned):
    """Temperature one, nothing cut off, no special tokens; short prompts are padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    with torch.no_grad():
        got = model.generate(ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0,
                             top_p=1.0, max_new_tokens=n_new, min_new_tokens=n_new,
                             suppress_tokens=banned, pad_token_id=0)
    return [row[width - len(p):].tolist() for row, p in zip(got, prompts)]


# ---- the reference ----

def reference(model, ids):
    with torch.no_grad():
        hidden = model.model(torch.tensor(np.array(ids)[None]), use_cache=False).last_hidden_state
    parts, nll = [], 0.0
    for begin in range(0, len(ids), ROWS_PER_SLICE):
        with torch.no_grad():
            logits = model.lm_head(hidden[0, begin:begin + ROWS_PER_SLICE]).double()
            logprobs = torch.log_softmax(logits, dim=1)
        parts.append(summary(logprobs))
        for row, target in enumerate(ids[begin + 1:begin + 1 + len(logprobs)]):
            nll -= float(logprobs[row, int(target)])
    print(f"{len(ids)} tokens, perplexity of their own text {np.exp(nll / (len(ids) - 1)):.2f}")
    return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}


def summary(logprobs):
    top, top_ids = torch.topk(logprobs, TOP, dim=1)
    rest = logprobs.scatter(1, top_ids, -torch.inf).logsumexp(dim=1)
    drop = torch.round((top[:, :1] - top) / DROP_UNIT).clamp(max=65535)
    return dict(top_ids=top_ids.numpy().astype(np.uint32),
                top_logprob=top[:, 0].numpy().astype(np.float32),
                top_drop=drop.numpy().astype(np.uint16),
                rest_logprob=rest.numpy().astype(np.float32))


if __name__ == "__main__":
    main()
