"""The manifest of prepared data as a page that a person reads."""

from collections.abc import Iterable, Mapping
from typing import Any

from cft.triplets.manifest import contamination_note

_LENGTHS = ("texts", "tokens", "min", "mean", "p50", "p95", "p99", "max", "at_max_length")


def manifest_page(
    title: str, manifest: Mapping[str, Any], stores: Mapping[str, Mapping[str, Any]]
) -> str:
    """Sources, what was left out, splits, triplets and token lengths, in Markdown.

    Args:
        title: of the page.
        manifest: of the prepared data.
        stores: the manifest of each stage's store, by stage.
    """
    corpora = {part: manifest[part] for part in ("epic", "verses", "nli") if part in manifest}
    epic, verses, evaluation = manifest["epic"], manifest["verses"], manifest["evaluation"]
    note = contamination_note(manifest)
    parts = [f"# {title}"]
    parts += [f"**{note}**"] if note else []
    parts += [
        "## Sources",
        _table(
            ("corpus", "source", "version or digest"),
            [
                (one["name"], name, digest)
                for one in corpora.values()
                for name, digest in one["source"].items()
            ],
        ),
        "## Left out",
        _table(
            ("corpus", "why", "rows"),
            [
                (one["name"], why.replace("_", " "), rows)
                for one in corpora.values()
                for why, rows in one["dropped"].items()
            ],
        ),
        "## Splits",
        _table(
            ("corpus", "trained on", "held out", "rule"),
            [
                (epic["name"], epic["train_rows"], epic["held_out_rows"], epic["held_out_rule"]),
                (
                    verses["name"],
                    verses["train_verses"],
                    verses["held_out_verses"],
                    verses["held_out_rule"],
                ),
            ],
        ),
        f"Neighbouring verses: {epic['neighbour_rule']}. Evaluation set: {evaluation['pairs']} "
        f"pairs, {evaluation['sts']} STS pairs, {evaluation['triplets']} triplets. "
        f"Seed {manifest['settings']['seed']}.",
        "## Triplets",
        _table(
            ("stage", "kind", "triplets", "hard negatives each"),
            [
                (stage, kind, rows, manifest[stage]["hard_negatives"])
                for stage in stores
                for kind, rows in manifest[stage]["kinds"].items()
            ],
        ),
        "## Tokens of the distinct texts",
        _table(
            ("stage", "role", *(name.replace("_", " ") for name in _LENGTHS)),
            [
                (stage, role, *(lengths.get(name, "") for name in _LENGTHS))
                for stage, store in stores.items()
                for role, lengths in store["store"]["token_lengths"].items()
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head)]
    lines += [[_cell(cell) for cell in row] for row in rows]
    if len(lines) == 1:
        return "Nothing."
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|")
