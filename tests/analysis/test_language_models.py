"""A tiny randomly initialised ESM, written here: attention and logits as the model itself gives them, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.subjects.contacts.jacobian import categorical_jacobian
from analysis.subjects.contacts.language_models import LanguageModel, load
from protmpi.data.alphabet import AMINO_ACIDS, encode
from protmpi.errors import DataError

transformers = pytest.importorskip("transformers", reason="pip install 'protmpi[plm]'")
torch = pytest.importorskip("torch", reason="pip install 'protmpi[plm]'")

SEQUENCE = "MKTAYIAKQRXWCDEFGHLNPSTV"  # X is unknown
LAYERS, HEADS = 2, 4


@pytest.fixture(scope="module")
def esm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_esm(tmp_path_factory.mktemp("esm"))


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_causal(tmp_path_factory.mktemp("gpt"))


def write_tokenizer(folder: Path) -> None:
    """The vocabulary of ESM-2."""
    letters = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
    words = ["<cls>", "<pad>", "<eos>", "<unk>", *letters, "<null_1>", "<mask>"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)


def write_esm(folder: Path) -> Path:
    write_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.EsmConfig(
        vocab_size=33, hidden_size=16, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=32,
        pad_token_id=1, mask_token_id=32, position_embedding_type="rotary", token_dropout=True,
        max_position_embeddings=100, initializer_range=0.5,
    )  # fmt: skip
    transformers.EsmForMaskedLM(config).save_pretrained(folder)
    return folder


def write_causal(folder: Path) -> Path:
    write_tokenizer(folder)
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=33, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=2, initializer_range=0.5
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def given(folder: Path, kind: str, sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """Attention (head, L, L) and logits (L, 20) by the plain use of transformers."""
    tokenizer = transformers.EsmTokenizer.from_pretrained(folder)
    model = getattr(transformers, kind).from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        out = model(**tokenizer(sequence.replace("X", "<mask>"), return_tensors="pt"), output_attentions=True)
    letters = tokenizer.convert_tokens_to_ids(list(AMINO_ACIDS))
    maps = torch.cat([layer[0] for layer in out.attentions])
    return maps.numpy()[:, 1:-1, 1:-1], out.logits[0][:, letters].numpy()


def test_it_gives_what_the_model_gives(esm: Path) -> None:
    model = load(str(esm))
    maps, logits = given(esm, "EsmForMaskedLM", SEQUENCE)
    tokens = encode(SEQUENCE)
    assert model.heads == LAYERS * HEADS == len(maps)
    np.testing.assert_allclose(model.attention(tokens), maps, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.logits(tokens[np.newaxis])[0], logits[1:-1], rtol=1e-4, atol=1e-5)
    other = encode(SEQUENCE[::-1])
    both = model.logits(np.stack([tokens, other]))
    np.testing.assert_allclose(both[1], given(esm, "EsmForMaskedLM", SEQUENCE[::-1])[1][1:-1], rtol=1e-4, atol=1e-5)
    # a twin whose sites are one off is seen
    assert not np.allclose(model.attention(tokens), np.roll(maps, 1, axis=-1), atol=1e-3)
    assert not np.allclose(both[0], logits[:-2], atol=1e-2)


def test_many_sequences_are_cut_into_parts(esm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = load(str(esm)), np.random.default_rng(0).integers(20, size=(7, 12))
    whole = model.logits(tokens)
    monkeypatch.setattr("analysis.subjects.contacts.language_models.TOKENS_AT_ONCE", 24)
    np.testing.assert_allclose(model.logits(tokens), whole, rtol=1e-4, atol=1e-5)


def test_a_causal_model_is_refused_or_run(causal: Path) -> None:
    with pytest.raises(DataError, match=r"is a causal model: a residue sees only those before it.*--allow-causal"):
        load(str(causal))
    model, tokens = load(str(causal), allow_causal=True), encode("MKTAYIAK")
    logits = given(causal, "GPT2LMHeadModel", "MKTAYIAK")[1]
    np.testing.assert_allclose(model.logits(tokens[np.newaxis])[0], logits[:8], rtol=1e-4, atol=1e-5)
    found = categorical_jacobian(model.logits, tokens)
    strength = np.abs(found).sum((1, 3))
    assert np.all(strength[np.tril_indices(8)] == 0), "nothing comes from a later site, nor from the site itself"
    assert np.all(strength[np.triu_indices(8, 1)] > 0)


class NoStart:
    """A tokenizer that puts nothing around a sequence."""

    mask_token_id, unk_token_id = None, 20

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [AMINO_ACIDS.index(token) for token in tokens]

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [AMINO_ACIDS.index(letter) for letter in text]}


def test_a_causal_model_without_a_first_token_knows_nothing_of_the_first_site() -> None:
    config = transformers.GPT2Config(vocab_size=21, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    model = LanguageModel("causal", transformers.GPT2LMHeadModel(config).eval(), NoStart(), causal=True)
    tokens = np.arange(6)[np.newaxis]
    with torch.no_grad():
        logits = model._model(torch.from_numpy(tokens)).logits[0, :, :20].numpy()
    found = model.logits(tokens)[0]
    assert not found[0].any()
    np.testing.assert_allclose(found[1:], logits[:-1], rtol=1e-4, atol=1e-5)


def test_what_is_no_protein_language_model(esm: Path, tmp_path: Path) -> None:
    empty, encoder, words = tmp_path / "empty", tmp_path / "t5", tmp_path / "words"
    empty.mkdir()
    t5 = transformers.T5Config(vocab_size=33, d_model=8, d_ff=8, num_layers=1, num_heads=1, architectures=["T5Model"])
    t5.save_pretrained(encoder)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text((esm / "config.json").read_text())
    words.mkdir()
    for path in esm.iterdir():
        (words / path.name).write_bytes(path.read_bytes())
    vocabulary = (esm / "vocab.txt").read_text().replace("\nW\n", "\nWord\n")
    (words / "vocab.txt").write_text(vocabulary)
    for folder, reason in (
        (tmp_path / "missing", "cannot be loaded as a protein language model .*local directory"),
        (empty, "cannot be loaded"),
        (encoder, "T5Model is not a masked language model"),
        (tmp_path / "broken", "cannot be loaded"),
        (words, "its tokens are not single residues"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            load(str(folder))
        assert "\n" not in str(caught.value)
        assert str(folder) in str(caught.value)


def rewritten(folder: Path, source: Path, kind: str, lost: str = "nothing") -> Path:
    """A checkpoint of the model of another class, without the weights whose name has `lost` in it."""
    model = getattr(transformers, kind).from_pretrained(source)
    kept = {name: value for name, value in model.state_dict().items() if lost not in name}
    write_tokenizer(folder)
    model.save_pretrained(folder, state_dict=kept)
    return folder


def test_a_checkpoint_that_lacks_weights_is_refused(esm: Path, causal: Path, tmp_path: Path) -> None:
    for number, (source, kind, lost, first) in enumerate((
        (esm, "EsmModel", "nothing", r"5 of the weights of EsmForMaskedLM, the first is lm_head\.bias"),
        (esm, "EsmForMaskedLM", "lm_head.dense", r"2 of the weights .* lm_head\.dense\.bias"),
        (esm, "EsmForMaskedLM", "layer.1.attention.self.query.weight", r"1 of the weights .*query\.weight"),
        (causal, "GPT2LMHeadModel", "wpe", r"1 of the weights of GPT2LMHeadModel, .*wpe"),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(DataError, match=rf"the checkpoint lacks {first}") as caught:
            load(str(rewritten(folder, source, kind, lost)), allow_causal=True)
        assert "\n" not in str(caught.value)
    whole = tmp_path / "whole"
    whole.mkdir()
    load(str(rewritten(whole, esm, "EsmForMaskedLM")))


def test_a_chain_longer_than_its_positions(esm: Path) -> None:
    with pytest.raises(DataError, match="reads up to 96 residues, a chain has 97"):
        load(str(esm)).attention(np.zeros(97, dtype=np.uint8))


def test_transformers_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(Exception, match=r"--plm: needs transformers.*pip install 'protmpi\[plm\]'"):
        load("anything")
