"""The nano backbone: a small Llama and its tokenizer, trained on given texts in a minute or two.

It stands in for a pre-trained model where none can be downloaded. It reads the texts one after
the other in the given order, each closed by EOS.
"""

import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from cft.errors import CftError
from cft.files import whole_folder, write_json
from cft.recipe import NanoRecipe

log = logging.getLogger(__name__)

UNK, BOS, EOS, PAD = "<unk>", "<s>", "</s>", "<pad>"
SPECIAL = [UNK, BOS, EOS, PAD]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WINDOW = 128  # tokens of one pre-training row


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-fallback BPE over words with a leading space mark; appends EOS to every text.

    The 256 byte pieces stand in the vocabulary from the start, so no text is ever unknown.
    """
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")]
    )
    learner = Tokenizer(BPE(unk_token=UNK))
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = splitter
    learner.train_from_iterator(
        texts,
        trainer=BpeTrainer(
            vocab_size=vocab_size - len(BYTES), special_tokens=SPECIAL, show_progress=False
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    pieces = [*SPECIAL, *BYTES]
    known = set(pieces)
    pieces += [piece for piece in learned["vocab"] if piece not in known]
    core = Tokenizer(
        BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=[tuple(pair) for pair in learned["merges"]],
            unk_token=UNK,
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = splitter
    core.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()]
    )
    core.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    core.post_processor = TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, pieces.index(EOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=BOS, eos_token=EOS, pad_token=PAD, unk_token=UNK
    )


def pretraining_rows(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> np.ndarray:
    """The texts, each closed by EOS, laid end to end and cut into rows: ``int64 [R, WINDOW + 1]``.

    Raises:
        CftError: there is less text than one row.
    """
    stream = np.concatenate([np.asarray(ids) for ids in tokenizer(list(texts))["input_ids"]])
    rows = (len(stream) - 1) // WINDOW
    if rows < 1:
        raise CftError(
            f"nano backbone: {len(stream)} tokens of text are fewer than one row of {WINDOW}; "
            "give more training rows or a ready backbone (--backbone DIR)"
        )
    starts = np.arange(rows)[:, None] * WINDOW
    return stream[starts + np.arange(WINDOW + 1)[None, :]]


def pretrain(rows_RW: np.ndarray, vocab_size: int, recipe: NanoRecipe) -> PreTrainedModel:
    """Next-token training of a freshly initialised Llama; AdamW, warm-up, cosine to a tenth."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.hidden_size * 8 // 3 // 16 * 16,
            num_hidden_layers=recipe.num_layers,
            num_attention_heads=recipe.num_heads,
            num_key_value_heads=max(recipe.num_heads // 2, 1),
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=SPECIAL.index(BOS),
            eos_token_id=SPECIAL.index(EOS),
            pad_token_id=SPECIAL.index(PAD),
            use_cache=False,
        )
    )
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1
    )
    warmup = max(recipe.max_steps // 20, 1)

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(recipe.max_steps - warmup, 1)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
    order = np.random.default_rng(recipe.seed)
    batch = max(recipe.batch_tokens // WINDOW, 1)
    queue = np.empty(0, dtype=np.int64)
    started = time.perf_counter()
    progress_bar = tqdm(range(recipe.max_steps), desc="pre-training the nano backbone", unit="step")
    for _ in progress_bar:
        while len(queue) < batch:
            queue = np.concatenate([queue, order.permutation(len(rows_RW))])
        taken, queue = queue[:batch], queue[batch:]
        ids_BW = torch.from_numpy(rows_RW[taken]).to(device)
        logits_BWV = model(input_ids=ids_BW[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(
            logits_BWV.flatten(0, 1).float(), ids_BW[:, 1:].flatten()
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        progress_bar.set_postfix(loss=f"{loss.item():.3f}")
    seconds = time.perf_counter() - started
    tokens = recipe.max_steps * batch * WINDOW
    log.info(
        "nano backbone: %d steps, %d tokens in %.0f s, %.0f tokens/s, loss %.3f",
        recipe.max_steps,
        tokens,
        seconds,
        tokens / seconds,
        loss.item(),
    )
    return model.cpu().eval()


def make_backbone(texts: Sequence[str], recipe: NanoRecipe, folder: Path) -> Path:
    """Train tokenizer and model on ``texts`` and save both as a Hugging Face folder, whole.

    Returns:
        ``folder``, which any ``from_pretrained`` reads.
    """
    tokenizer = train_tokenizer(texts, recipe.vocab_size)
    rows_RW = pretraining_rows(tokenizer, texts)
    model = pretrain(rows_RW, len(tokenizer), recipe)
    with whole_folder(folder) as beside:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        write_json(beside / "nano.json", recipe.model_dump(mode="json"))
    return folder
