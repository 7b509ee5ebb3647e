"""A tiny model of the kind that others publish: BERT, mean pooling, folder with prompts."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from tests.tiny import BOS_ID, EOS_ID, PAD_ID, VOCABULARY, byte_tokenizer


def save_sentence_transformer(
    folder: Path, prompts: dict[str, str] | None = None, seed: int = 0
) -> Path:
    """Random weights, 24 dimensions, vectors that are not of unit norm."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=128, pad_token_id=PAD_ID,
        bos_token_id=BOS_ID, eos_token_id=EOS_ID,
    )  # fmt: skip
    body = folder.with_name(f"{folder.name}-body")
    BertModel(config).save_pretrained(body)
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS_ID), ("</s>", EOS_ID)]
    )
    tokenizer.save_pretrained(body)
    transformer = Transformer(str(body), max_seq_length=64)
    modules = [transformer, Pooling(24, pooling_mode="mean")]
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder))
    return folder
