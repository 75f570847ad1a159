"""Protein language models of the Hugging Face hub, by name or from a local directory. Needs torch and transformers.

Any masked language model whose tokens are single residues can be used: ESM-2, ESM-1b, ProtBert and others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from protmpi.data.alphabet import AMINO_ACIDS, MASK
from protmpi.errors import DataError, ProtmpiError

if TYPE_CHECKING:
    import torch

CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel")
"""Endings of the names of causal architectures, whose sites see only earlier sites."""

TOKENS_AT_ONCE = 20_000
"""Most tokens in one call, so that activations of a large model stay below some GB."""


class LanguageModel:
    """A language model that reads residues one by one."""

    def __init__(self, name: str, model: Any, tokenizer: Any, causal: bool) -> None:
        self.name, self._model, self._causal = name, model, causal
        self._prefix, self._suffix, self._ids = _tokens(name, tokenizer)
        config = model.config
        self.heads = int(config.num_hidden_layers * config.num_attention_heads)
        # some models count positions from their padding token on, which costs up to two positions
        self._longest = getattr(config, "max_position_embeddings", np.inf) - 2 - len(self._prefix + self._suffix)

    def attention(self, tokens: np.ndarray) -> np.ndarray:
        """Attention maps (head, L, L) of a sequence (L,), layer by layer."""
        import torch

        with torch.inference_mode():
            maps = self._model(self._input(tokens[np.newaxis]), output_attentions=True).attentions
            sites = slice(len(self._prefix), len(self._prefix) + len(tokens))
            return np.concatenate([layer[0, :, sites, sites].float().cpu().numpy() for layer in maps])

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        """Logits (B, L, 20) of sequences (B, L).

        A causal model guesses a site from the token before it. Without a token before it, the first site has zeros.
        """
        import torch

        first = len(self._prefix) - self._causal
        parts = []
        with torch.inference_mode():
            for part in self._input(tokens).split(max(1, TOKENS_AT_ONCE // tokens.shape[1])):
                found = self._model(part).logits[:, max(0, first) : first + tokens.shape[1], self._ids[:MASK]]
                parts.append(torch.nn.functional.pad(found, (0, 0, max(0, -first), 0)).float().cpu().numpy())
        return np.concatenate(parts)

    def passes(self, tokens: np.ndarray) -> int:
        """Number of forward passes for one sequence."""
        return 1

    def _input(self, tokens: np.ndarray) -> torch.Tensor:
        """Sequences (B, L) as the model reads them, with its tokens before and after.

        Raises DataError for sequences longer than the positions of the model.
        """
        import torch

        if tokens.shape[1] > self._longest:
            raise DataError(f"{self.name}: reads up to {self._longest} residues, a chain has {tokens.shape[1]}; "
                            "leave its file out")  # fmt: skip
        ends = [np.tile(np.array(end, dtype=np.int64), (len(tokens), 1)) for end in (self._prefix, self._suffix)]
        return torch.from_numpy(np.concatenate([ends[0], self._ids[tokens], ends[1]], axis=1)).to(self._model.device)


def load(name: str, allow_causal: bool = False) -> LanguageModel:
    """The language model of a local directory, or of this name on the Hugging Face hub, on a GPU if there is one.

    Raises ProtmpiError, one line, if transformers is missing, the model cannot be loaded, it lacks weights, it is
    causal without permission, or its tokens are not single residues.
    """
    try:
        import torch
        from huggingface_hub.utils import logging as hub_logging
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise ProtmpiError(f"--plm: needs {error.name}, which is missing; pip install 'protmpi[plm]'") from None
    hub_logging.set_verbosity_error()  # its retries would be printed line by line
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(name)
        causal = _is_causal(name, config, AutoModelForMaskedLM._model_mapping)
        if causal and not allow_causal:
            raise DataError(f"{name}: is a causal model: a residue sees only those before it, so that its guesses hold "
                            "no pair as a whole (precision 0.02 to 0.11 in the study); give a masked language model, "
                            "or --allow-causal to see it")  # fmt: skip
        kind = AutoModelForCausalLM if causal else AutoModelForMaskedLM
        loaded: Any = kind.from_pretrained(name, attn_implementation="eager", output_loading_info=True)
        model, read = loaded
        _all_weights_read(name, model, read["missing_keys"])
        model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        return LanguageModel(name, model, AutoTokenizer.from_pretrained(name), causal)
    except DataError:
        raise
    except Exception as error:  # any exception of a hub, a file or a class
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{name}: cannot be loaded as a protein language model ({type(error).__name__}: {reason}); "
                        "give a local directory, or a name that the Hugging Face hub has and that can be reached from "
                        "here") from None  # fmt: skip


def _is_causal(name: str, config: Any, masked: Any) -> bool:
    """Whether a model is causal. Raises DataError if it is neither causal nor a masked language model."""
    architectures = config.architectures or []
    if getattr(config, "is_decoder", False) or any(found.endswith(CAUSAL_HEADS) for found in architectures):
        return True
    if type(config) not in masked:
        what = ", ".join(architectures) or config.model_type
        raise DataError(f"{name}: {what} is not a masked language model; give one, such as facebook/esm2_t6_8M_UR50D")
    return False


def _all_weights_read(name: str, model: Any, missing: Iterable[str]) -> None:
    """Raise DataError if the checkpoint lacks weights, such as a language-model head, which would be random."""
    drawn = sorted(set(missing) & {key for key, _ in model.named_parameters()})
    if drawn:
        raise DataError(f"{name}: the checkpoint lacks {len(drawn)} of the weights of {type(model).__name__}, the "
                        f"first is {drawn[0]}: they would be random; give one with a language-model head")  # fmt: skip


def _tokens(name: str, tokenizer: Any) -> tuple[list[int], list[int], np.ndarray]:
    """Tokens before and after a sequence, and tokens of the twenty residues and of an unknown one (21,)."""
    ids = tokenizer.convert_tokens_to_ids(list(AMINO_ACIDS))
    unknown = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id
    alone = tokenizer(AMINO_ACIDS[0])["input_ids"]
    single = len(set(ids)) == len(ids) and not {unknown, tokenizer.unk_token_id} & set(ids)
    if unknown is None or not single or alone.count(ids[0]) != 1:
        raise DataError(f"{name}: its tokens are not single residues, so that its maps have no sites; models whose "
                        f"vocabulary has {' '.join(AMINO_ACIDS)} and a mask are read")  # fmt: skip
    at = alone.index(ids[0])
    return alone[:at], alone[at + 1 :], np.array([*ids, unknown])
