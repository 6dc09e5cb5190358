"""Prompts to tokens to encodings: the same as the reference's, from each format that people have, in little memory."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import sentencepiece
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import prompt_clean
from gguf import GGMLQuantizationType, quants
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from scenes.shot import MachineLacks
from scenes.wan import text
from scenes.wan.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from scenes.wan.text import encode_prompts
from scenes.wan.tokenizer import LENGTH, clean, open_tokenizer, token_counts
from scenes.wan.umt5 import encoder_parts
from tests import tiny_wan

torch.set_num_threads(1)
CPU = torch.device("cpu")

# WAN's own negative prompt. Source: Wan-Video/Wan2.2, wan/configs/shared_config.py.
OFFICIAL_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
PROMPTS = [
    "A wooden dock at dawn, mist drifting over the water",
    "",
    OFFICIAL_NEGATIVE,
    "lanterns 🏮 over the café, ½ of them ﬁne; ＡＢＣ 日本",
    "the boat leaves the dock " * 80,  # beyond what the model reads
]
NASTY = [
    *PROMPTS,
    "  two\tspaces\u3000and\nlines  ",
    "schÃ¶n and â€œquotedâ€\x9d",
    "&amp;lt;b&amp;gt; &nbsp; caf&eacute;",
    "a </s> b <pad> <unk> ▁ <0xF0>",
    "👨‍👩‍👧‍👦 ﷽ \u200b\ufeff\x07",
]


Named = Callable[[Any], tiny_wan.State]


def write(model: Any, path: Path, form: str = "fp32", named: Named = tiny_wan.comfy_text_encoder) -> Path:
    return tiny_wan.write_safetensors(tiny_wan.with_tokenizer(tiny_wan.FORMS[form](named(model))), path)


def write_llama(model: Any, path: Path, kind: str = "Q8_0", words: bool = True) -> Path:
    """A GGUF text encoder as llama.cpp's convert_hf_to_gguf.py writes it, with its form of the tokenizer."""
    writer = gguf.GGUFWriter(path, "t5encoder")
    if words:
        _add_tokenizer(writer, model.config.vocab_size)
    quant = GGMLQuantizationType[kind]
    for name, tensor in tiny_wan.llama_text_encoder(model).items():
        values = tensor.float().numpy()
        if tensor.ndim < 2 or "attn_rel_b" in name:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, tiny_wan.quantised(values, quant, name), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, vocab: int) -> None:
    spiece = sentencepiece.SentencePieceProcessor(model_proto=tiny_wan.spiece())
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    known, spare = range(spiece.vocab_size()), range(spiece.vocab_size(), vocab)
    writer.add_token_list([*map(spiece.id_to_piece, known), *(f"[PAD{i}]" for i in spare)])
    writer.add_token_scores([*map(spiece.get_score, known), *(-10000.0 for _ in spare)])
    unlike = ((2, spiece.is_unknown), (3, spiece.is_control), (5, spiece.is_unused), (6, spiece.is_byte))
    kinds = [next((kind for kind, holds in unlike if holds(i)), 1) for i in known]
    writer.add_token_types([*kinds, *(5 for _ in spare)])
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_precompiled_charsmap(charsmap())
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    writer.add_pad_token_id(0)


def charsmap() -> bytes:
    """The normaliser's table within the sentencepiece model."""
    spec = _field(tiny_wan.spiece(), 3)
    return _field(spec, 2)


def _field(message: bytes, wanted: int) -> bytes:
    """The first field of a kind in a protocol buffer."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        length = {0: 0, 5: 4, 1: 8}.get(key & 7)
        if length is None:
            length = varint()
        elif key & 7 == 0:
            varint()
        if key >> 3 == wanted:
            return message[at : at + length]
        at += length
    raise KeyError(wanted)


@pytest.fixture(scope="module")
def encoder() -> Any:
    return tiny_wan.text_encoder(3)


@pytest.fixture(scope="module")
def calm() -> Any:
    """Queries of the size that T5 is initialised with: it does not scale its scores, and these do not saturate."""
    model = tiny_wan.text_encoder(3)
    for block in model.encoder.block:
        block.layer[0].SelfAttention.q.weight.mul_(64**-0.5)
    return model


@pytest.fixture(scope="module")
def fast() -> FastTokenizer:
    """As google/umt5-xxl's own tokenizer.json: unigram pieces with byte fallback."""
    spiece = sentencepiece.SentencePieceProcessor(model_proto=tiny_wan.spiece())
    pieces = [(spiece.id_to_piece(i), spiece.get_score(i)) for i in range(spiece.vocab_size())]
    made = FastTokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    made.normalizer = normalizers.Precompiled(charsmap())
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


@pytest.fixture(scope="module")
def stock(encoder: Any, fast: FastTokenizer) -> Any:
    """diffusers' pipeline; it draws nothing here."""
    words = PreTrainedTokenizerFast(tokenizer_object=fast, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    scheduler = FlowMatchEulerDiscreteScheduler()
    return WanImageToVideoPipeline(tokenizer=words, text_encoder=encoder, vae=tiny_wan.vae21(), scheduler=scheduler)


@pytest.fixture(scope="module")
def reference(stock: Any) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {p: stock.encode_prompt(p, None, False, max_sequence_length=LENGTH)[0][0] for p in PROMPTS}


@pytest.fixture(scope="module")
def comfy(encoder: Any, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write(encoder, tmp_path_factory.mktemp("fp32") / "umt5.safetensors"))


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


# Tokens


def test_tokens_are_sentencepieces_own_and_the_end(comfy: Checkpoint) -> None:
    spiece = sentencepiece.SentencePieceProcessor(model_proto=tiny_wan.spiece())
    words = open_tokenizer(comfy, None)
    for prompt in NASTY:
        assert words.tokens(prompt) == [*spiece.encode(prompt_clean(prompt)), 1]
    assert words.tokens("") == [1]
    assert 2 not in words.tokens("🏮 日")  # bytes, not the unknown token


@pytest.mark.parametrize("prompt", NASTY)
def test_prompts_are_cleaned_as_by_diffusers(prompt: str) -> None:
    assert clean(prompt) == prompt_clean(prompt)


def test_every_kind_of_space_is_cleaned_as_by_diffusers() -> None:
    odd = [chr(code) for code in range(0x10000) if chr(code).isspace() or 0x2000 <= code < 0x2070 or code < 0xA1]
    for sign in odd:
        for prompt in (f"a{sign}b", f"{sign}a", f"a{sign * 2}", f"a&#{ord(sign)};b"):
            assert clean(prompt) == prompt_clean(prompt), repr(prompt)


def test_long_prompts_are_told_of(comfy: Checkpoint) -> None:
    counts = token_counts(PROMPTS, comfy, None)
    assert list(counts) == PROMPTS
    assert counts[""] == 1
    assert [prompt for prompt, count in counts.items() if count > LENGTH] == [PROMPTS[-1]]


def test_counting_needs_no_torch(encoder: Any, tmp_path: Path) -> None:
    path = write_llama(encoder, tmp_path / "umt5.gguf")
    code = (
        "import sys; from pathlib import Path; from scenes.wan.checkpoint import read_checkpoint; "
        "from scenes.wan.tokenizer import token_counts; from scenes.wan.umt5 import encoder_parts; "
        f"encoder = read_checkpoint(Path({str(path)!r})); encoder_parts(encoder); "
        "print(token_counts(['a dock'], encoder, None)['a dock']); "
        "print([name for name in ('torch', 'transformers', 'diffusers', 'gguf', 'safetensors') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, loaded = ran.stdout.split("\n")[:2]
    assert int(count) > 2
    assert loaded == "[]"


def test_a_missing_package_is_named(comfy: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MachineLacks, match=r'sentencepiece.*pip install "storyboard\[wan\]"'):
        token_counts(["a dock"], comfy, None)


# Where tokenizers come from


def test_a_tokenizer_is_found_wherever_people_have_it(
    encoder: Any, fast: FastTokenizer, comfy: Checkpoint, tmp_path: Path
) -> None:
    expected, own = token_counts(NASTY, comfy, None), open_tokenizer(comfy, None)
    bare = read_checkpoint(
        tiny_wan.write_safetensors(tiny_wan.comfy_text_encoder(encoder), tmp_path / "bare.safetensors")
    )
    (tmp_path / "spiece.model").write_bytes(tiny_wan.spiece())
    (tmp_path / "json").mkdir()
    fast.enable_truncation(4)  # as a file may have it
    fast.enable_padding(length=4)
    fast.save(str(tmp_path / "json" / "tokenizer.json"))
    fast.no_truncation()
    fast.no_padding()
    model = tiny_wan.write_diffusers_folder(tmp_path / "diffusers")
    llama = write_llama(encoder, tmp_path / "words.gguf")
    for named in (tmp_path / "spiece.model", tmp_path, model, model / "tokenizer", comfy.path, llama):
        assert token_counts(NASTY, bare, named) == expected, named
        assert open_tokenizer(bare, named).tokens(OFFICIAL_NEGATIVE) == own.tokens(OFFICIAL_NEGATIVE)
    for named in (tmp_path / "json", tmp_path / "json" / "tokenizer.json"):
        for prompt in PROMPTS:
            assert open_tokenizer(bare, named).tokens(prompt) == own.tokens(prompt)
    assert token_counts(NASTY, read_checkpoint(model / "text_encoder"), None) == expected


def test_llama_cpps_form_of_the_tokenizer_splits_as_the_model_it_came_from(encoder: Any, tmp_path: Path) -> None:
    spiece = sentencepiece.SentencePieceProcessor(model_proto=tiny_wan.spiece())
    words = open_tokenizer(read_checkpoint(write_llama(encoder, tmp_path / "umt5.gguf")), None)
    for prompt in NASTY:
        assert words.tokens(prompt) == [*spiece.encode(prompt_clean(prompt)), 1]


def test_without_a_tokenizer_the_remedy_is_told(encoder: Any, tmp_path: Path) -> None:
    bare = tiny_wan.write_safetensors(tiny_wan.comfy_text_encoder(encoder), tmp_path / "bare.safetensors")
    wordless = write_llama(encoder, tmp_path / "wordless.gguf", words=False)
    (tmp_path / "empty").mkdir()
    for path in (bare, wordless):
        with pytest.raises(CheckpointError, match=rf"{path.name} comes without a tokenizer: put .*fp8_e4m3fn_scaled"):
            encode_prompts(["a dock"], read_checkpoint(path), None, CPU)
        with pytest.raises(CheckpointError, match="empty holds no tokenizer: put"):
            encode_prompts(["a dock"], read_checkpoint(path), tmp_path / "empty", CPU)
        with pytest.raises(CheckpointError, match="there is no such tokenizer"):
            encode_prompts(["a dock"], read_checkpoint(path), tmp_path / "nowhere", CPU)


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "json", "other json", "gguf"])
def test_a_wrong_tokenizer_is_refused(
    damage: str, encoder: Any, comfy: Checkpoint, fast: FastTokenizer, tmp_path: Path
) -> None:
    path, says = tmp_path / "spiece.model", "cannot be read .*get the file again"
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(tiny_wan.spiece()[:-5000])
        case "foreign":
            path.write_bytes(tiny_wan.spiece().replace(b"</s>", b"<es>"))
            says = "another model's tokenizer"
        case "json":
            path = tmp_path / "tokenizer.json"
            path.write_text("{}")
        case "other json":
            path, says = tmp_path / "tokenizer.json", "another model's tokenizer"
            words = {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
            path.write_text(json.dumps({**json.loads(fast.to_str()), "model": words}))
        case _:
            path, says = write_llama(encoder, tmp_path / "umt5.gguf"), "tokenizer is not whole"
            path.write_bytes(path.read_bytes().replace(b"tokenizer.ggml.scores", b"tokenizer.ggml.scoret"))
    with pytest.raises(CheckpointError, match=says) as told:
        token_counts(["a dock"], comfy, path)
    assert str(path) in str(told.value)


def test_a_tokenizer_of_more_pieces_than_the_encoder_knows_is_refused(encoder: Any, tmp_path: Path) -> None:
    state = tiny_wan.comfy_text_encoder(encoder)
    state["shared.weight"] = state["shared.weight"][:100].clone()
    path = tiny_wan.write_safetensors(tiny_wan.with_tokenizer(state), tmp_path / "small.safetensors")
    with pytest.raises(CheckpointError, match=r"another model's tokenizer: it gives token .* knows 100"):
        encode_prompts(["a dock"], read_checkpoint(path), None, CPU)


# Encodings


def test_encodings_are_the_stock_pipelines_bit_for_bit(comfy: Checkpoint, reference: dict[str, torch.Tensor]) -> None:
    found = encode_prompts([*PROMPTS, PROMPTS[0]], comfy, None, CPU)
    assert same(found, reference)
    counts = token_counts(PROMPTS, comfy, None)
    for prompt, encoding in found.items():
        assert encoding.shape == (LENGTH, tiny_wan.TEXT)
        assert encoding.dtype == torch.float32
        assert int(encoding.any(1).sum()) == min(LENGTH, counts[prompt])


def test_an_encoding_depends_on_its_own_prompt_alone(comfy: Checkpoint, reference: dict[str, torch.Tensor]) -> None:
    for prompt in PROMPTS[:2]:
        assert same(encode_prompts([prompt], comfy, None, CPU), {prompt: reference[prompt]})
    assert encode_prompts([], comfy, None, CPU) == {}


def wan_names(model: Any) -> dict[str, torch.Tensor]:
    """Under the names of Wan-AI's own models_t5_umt5-xxl-enc-bf16.pth, as it is converted."""
    named: dict[str, torch.Tensor] = {}
    for name, tensor in tiny_wan.comfy_text_encoder(model).items():
        for pattern, theirs in (
            (r"^shared", "token_embedding"),
            (r"^encoder\.final_layer_norm", "norm"),
            (r"^encoder\.block", "blocks"),
            (r"layer\.0\.SelfAttention\.relative_attention_bias", "pos_embedding.embedding"),
            (r"layer\.0\.SelfAttention", "attn"),
            (r"layer\.0\.layer_norm", "norm1"),
            (r"layer\.1\.layer_norm", "norm2"),
            (r"layer\.1\.DenseReluDense\.wi_0", "ffn.gate.0"),
            (r"layer\.1\.DenseReluDense\.wi_1", "ffn.fc1"),
            (r"layer\.1\.DenseReluDense\.wo", "ffn.fc2"),
        ):
            name = re.sub(pattern, theirs, name)
        named[name] = tensor
    return named


def test_every_way_of_naming_and_sharding_gives_the_same(
    encoder: Any, reference: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    def second_name(model: Any) -> dict[str, torch.Tensor]:
        state = tiny_wan.comfy_text_encoder(model)
        return {name.replace("shared", "encoder.embed_tokens"): tensor for name, tensor in state.items()}

    folder = tiny_wan.write_diffusers_folder(tmp_path / "diffusers") / "text_encoder"
    assert len(read_checkpoint(folder).files) > 1
    paths = [
        folder,
        write(encoder, tmp_path / "wan.safetensors", named=wan_names),
        write(encoder, tmp_path / "second.safetensors", named=second_name),
        write_llama(encoder, tmp_path / "umt5.gguf", "F32"),
    ]
    for path in paths:
        assert same(encode_prompts(PROMPTS, read_checkpoint(path), None, CPU), reference), path


# The difference to the fp32 encoding, relative to its norm: in so small an encoder four or five times the weights' own.
BOUNDS = {
    "bf16": 0.015,
    "fp16": 0.002,
    "fp8_scaled": 0.15,
    "fp8_scaled_e5m2": 0.3,
    "fp8_weight_scale": 0.15,
    "fp8_rowwise": 0.15,
    "fp8_unscaled": 0.2,
    "F16": 0.002,
    "BF16": 0.015,
    "Q8_0": 0.04,
    "Q5_1": 0.25,
    "Q4_0": 0.6,
}


@pytest.mark.parametrize("form", [*BOUNDS, "Q4_K", "Q6_K"])
def test_each_format_is_widened_exactly_and_stays_within_its_bound(
    form: str, calm: Any, comfy: Checkpoint, tmp_path: Path
) -> None:
    prompts, full = PROMPTS[:3], tiny_wan.comfy_text_encoder(calm)
    if form in tiny_wan.FORMS:
        path = write(calm, tmp_path / "umt5.safetensors", form)
        state = _widened(tiny_wan.FORMS[form](full))
    else:
        path = write_llama(calm, tmp_path / "umt5.gguf", form, words=False)
        state = _dequantised(path)
    found = encode_prompts(prompts, read_checkpoint(path), comfy.path, CPU)
    expected, reference = _by_transformers(state, prompts), _by_transformers(full, prompts)
    for prompt, encoding in found.items():
        torch.testing.assert_close(encoding, expected[prompt], rtol=0, atol=1e-5 * float(expected[prompt].abs().max()))
        if form in BOUNDS:
            off = float((encoding - reference[prompt]).norm() / reference[prompt].norm())
            assert off < BOUNDS[form], (prompt[:20], off)


@pytest.mark.parametrize("rows", [False, True])
def test_a_table_of_tokens_in_scaled_fp8(rows: bool, calm: Any, comfy: Checkpoint, tmp_path: Path) -> None:
    full = tiny_wan.comfy_text_encoder(calm)
    state, table = tiny_wan.fp8_scaled(full, "rowwise" if rows else "weight_scale"), full["shared.weight"]
    scale = (table.abs().amax(1, keepdim=True) if rows else table.abs().max().view(1, 1)) / 448
    state["shared.weight"], state["shared.weight_scale"] = (table / scale).to(torch.float8_e4m3fn), scale
    path = tiny_wan.write_safetensors(state, tmp_path / "umt5.safetensors")
    found = encode_prompts(PROMPTS[:2], read_checkpoint(path), comfy.path, CPU)
    for prompt, expected in _by_transformers(_widened(state), PROMPTS[:2]).items():
        torch.testing.assert_close(found[prompt], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def _widened(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Safetensors' weights in fp32."""
    out: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if leaf != "weight":
            continue
        scale = next((state[key] for key in (f"{module}.scale_weight", f"{module}.weight_scale") if key in state), None)
        out[name] = tensor.float() if scale is None else tensor.float() * scale.float().reshape(-1, 1)
    return out


def _dequantised(path: Path) -> dict[str, torch.Tensor]:
    """A GGUF file's weights in fp32 by gguf-py, under transformers' names."""
    model = tiny_wan.text_encoder()
    back = dict(zip(tiny_wan.llama_text_encoder(model), tiny_wan.comfy_text_encoder(model), strict=True))
    reader = gguf.GGUFReader(path)
    return {
        back[each.name]: torch.from_numpy(np.array(quants.dequantize(each.data, each.tensor_type), np.float32))
        for each in reader.tensors
    }


def _by_transformers(state: dict[str, torch.Tensor], prompts: list[str]) -> dict[str, torch.Tensor]:
    model = tiny_wan.text_encoder(3)
    missing, unexpected = model.load_state_dict(
        {**state, "encoder.embed_tokens.weight": state["shared.weight"]}, strict=False
    )
    assert (missing, unexpected) == ([], [])
    spiece = sentencepiece.SentencePieceProcessor(model_proto=tiny_wan.spiece())
    out: dict[str, torch.Tensor] = {}
    for prompt in prompts:
        tokens = [*spiece.encode(prompt_clean(prompt)), 1]
        ids = torch.tensor([tokens + [0] * (LENGTH - len(tokens))])
        with torch.no_grad():
            hidden = model(ids, (torch.arange(LENGTH) < len(tokens)).long()[None]).last_hidden_state[0]
        out[prompt] = torch.cat([hidden[: len(tokens)], torch.zeros(LENGTH - len(tokens), hidden.shape[1])])
    return out


# Memory


def test_one_layers_memory_serves_all_layers(comfy: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    filled: list[tuple[int, int]] = []
    plain = text.arrive

    def watched(target: Any, arrival: Any) -> None:
        filled.append((target.weight.data_ptr(), target.weight.numel()))
        plain(target, arrival)

    monkeypatch.setattr(text, "arrive", watched)
    encode_prompts(PROMPTS[:2], comfy, None, CPU)
    embedding, *blocks, norm = filled
    assert len(blocks) == 10 * tiny_wan.LAYERS
    assert len(set(blocks)) == 10
    used = {token for prompt in PROMPTS[:2] for token in open_tokenizer(comfy, None).tokens(prompt)}
    assert embedding[1] == len(used | {0}) * tiny_wan.TEXT  # of the table only the rows that the prompts need
    assert norm[1] == tiny_wan.TEXT


def test_memory_is_given_back(comfy: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    plain = text._one_layer

    def watched(*args: Any) -> Any:
        layer, norm = plain(*args)
        alive.extend(weakref.ref(each) for each in (layer, norm, *layer.parameters()))
        return layer, norm

    monkeypatch.setattr(text, "_one_layer", watched)
    found = encode_prompts(PROMPTS[:2], comfy, None, CPU)
    gc.collect()
    assert len(alive) > 12
    assert [each() for each in alive if each() is not None] == []
    assert all(encoding.untyped_storage().nbytes() == LENGTH * tiny_wan.TEXT * 4 for encoding in found.values())


# Wrong files


def test_files_cut_short_are_refused(encoder: Any, comfy: Checkpoint, tmp_path: Path) -> None:
    path = write(encoder, tmp_path / "umt5.safetensors")
    opened = read_checkpoint(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):  # cut since it was opened
        encode_prompts(["a dock"], opened, comfy.path, CPU)


def t5(state: tiny_wan.State) -> None:
    del state["encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"]


def part(state: tiny_wan.State) -> None:
    del state["encoder.block.1.layer.1.DenseReluDense.wo.weight"]


def narrow(state: tiny_wan.State) -> None:
    name = "encoder.block.1.layer.0.SelfAttention.o.weight"
    state[name] = state[name][:, :128].contiguous()


def with_decoder(state: tiny_wan.State) -> None:
    state["decoder.block.0.layer.0.SelfAttention.q.weight"] = torch.zeros(2, 2)


def integers(state: tiny_wan.State) -> None:
    name = "encoder.block.1.layer.0.SelfAttention.q.weight"
    state[name] = state[name].to(torch.int8)


def lost_scale(state: tiny_wan.State) -> None:
    scaled = tiny_wan.fp8_scaled(state)
    del scaled["encoder.block.1.layer.1.DenseReluDense.wo.scale_weight"]
    state.clear()
    state.update(scaled)


def odd_scale(state: tiny_wan.State) -> None:
    scaled = tiny_wan.fp8_scaled(state)
    scaled["encoder.block.1.layer.1.DenseReluDense.wo.scale_weight"] = torch.ones(3)
    state.clear()
    state.update(scaled)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (t5, "has no encoder.block.1.*relative_attention_bias.weight, as the T5 of other models.*takes UMT5-XXL"),
        (part, "has no encoder.block.1.layer.1.DenseReluDense.wo.weight.*a part of it is missing"),
        (narrow, r"SelfAttention.o.weight is 256x128, not 256x256"),
        (with_decoder, "holds decoder.block.0.layer.0.SelfAttention.q.weight"),
        (integers, "q.weight is I8, which is not supported: take a file in bf16"),
        (lost_scale, "wo.weight is scaled fp8 and its scale is missing"),
        (odd_scale, r"wo.scale_weight is \[3\], and .*wo.weight \[256, 512\] F8_E4M3"),
    ],
)
def test_encoders_that_are_not_umt5s_or_not_whole_are_refused(
    change: Callable[[tiny_wan.State], None], says: str, encoder: Any, tmp_path: Path
) -> None:
    state = dict(tiny_wan.comfy_text_encoder(encoder))
    change(state)
    path = tiny_wan.write_safetensors(tiny_wan.with_tokenizer(state), tmp_path / "wrong.safetensors")
    with pytest.raises(CheckpointError, match=says) as told:
        encode_prompts(["a dock"], read_checkpoint(path), None, CPU)
    assert str(path) in str(told.value)


def test_an_expert_is_no_text_encoder(tmp_path: Path) -> None:
    path = tiny_wan.write_expert(tmp_path, "high", "bf16", 1)
    with pytest.raises(CheckpointError, match=r"is not a UMT5 text encoder: it holds .* and \d+ more"):
        encoder_parts(read_checkpoint(path))
