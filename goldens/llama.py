"""Small random models of the Llama family in Hugging Face's layout, with the logits and the greedy text of transformers.

python llama.py
"""

import json
import shutil
import zlib

from golden import HERE, VERSIONS, number, torch, write_json

import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

OUT = HERE / "llama"
PROMPT = [1, 17, 4, 30, 30, 8, 41, 2, 25, 12]
NEW_TOKENS = 24
# float32 is some 1e-6 off.
CLEAR = 1e-3
SIZES = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

# Name: configuration, dtype of the file, size of a shard.
CASES = {
    "grouped": (
        LlamaConfig(**SIZES, num_key_value_heads=2, head_dim=12, rope_parameters=LLAMA3),
        torch.float32,
        "1MB",
    ),
    "tied": (
        LlamaConfig(
            **{**SIZES, "tie_word_embeddings": True},
            num_key_value_heads=4,
            rope_parameters={**ROPE, "rope_type": "linear", "factor": 4.0},
        ),
        torch.bfloat16,
        "1MB",
    ),
    "sharded": (
        LlamaConfig(
            **SIZES, num_key_value_heads=1, rope_parameters=ROPE, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5
        ),
        torch.float16,
        "16KB",
    ),
    "mistral": (
        MistralConfig(**SIZES, num_key_value_heads=2, rope_parameters=ROPE, sliding_window=6),
        torch.bfloat16,
        "1MB",
    ),
    "qwen2": (
        Qwen2Config(
            **{**SIZES, "tie_word_embeddings": True},
            num_key_value_heads=2,
            rope_parameters={**ROPE, "rope_theta": 1000000.0},
            use_sliding_window=True,
            sliding_window=7,
            max_window_layers=1,
        ),
        torch.bfloat16,
        "1MB",
    ),
}


def initialise(model, name):
    """Wide enough that heads attend to different places; the seed is the name alone."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for key, value in sorted(model.named_parameters()):
            draw = torch.randn(value.shape, generator=generator)
            if value.dim() == 2:
                value.copy_(draw * 1.5 / value.shape[1] ** 0.5)
            elif key.endswith("norm.weight"):
                value.copy_(1 + 0.3 * draw)
            else:
                value.copy_(0.3 * draw)


def reference(folder):
    """The files as transformers reads them, computed in float64."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        logits = model(ids).logits[0]
        text = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=0
        )[0]
        # Greedy ids mean something only where the best is clear of the next.
        best = model(text[None]).logits[0].topk(2).values
    gap = (best[len(PROMPT) - 1 :, 0] - best[len(PROMPT) - 1 :, 1]).min().item()
    if gap < CLEAR:
        raise SystemExit(f"{folder.name}: the two best logits are {gap} apart; choose another seed")
    return logits, text[len(PROMPT) :].tolist()


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    versions = {**VERSIONS, "transformers": transformers.__version__}
    for name, (config, dtype, shard) in CASES.items():
        folder = OUT / name
        model = AutoModelForCausalLM.from_config(config)
        initialise(model, name)
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        (folder / "generation_config.json").unlink(missing_ok=True)
        for file in folder.iterdir():
            file.chmod(0o644)
        logits, greedy = reference(folder)
        document = {
            "model": name,
            "versions": versions,
            "prompt": PROMPT,
            "logits": [[number(round(entry, 7)) for entry in row] for row in logits.tolist()],
            "greedy": greedy,
        }
        write_json(folder / "expected.json", document)
        print(name, json.dumps(greedy))


if __name__ == "__main__":
    main()
