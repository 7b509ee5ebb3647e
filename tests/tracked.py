"""A job that says everything that can be said to MLflow, and what MLflow must then hold of it."""

from pathlib import Path
from typing import Any

from cft.tracking.registry import version_of
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import TrackedRun, Tracking


def say_everything(tracking: Tracking, job: str, place: Path) -> TrackedRun:
    """Two stages in small: every operation that there is."""
    adapter, report = place / "adapter", place / "report"
    for folder in (adapter, report):
        folder.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    (report / "page.html").write_text("<p>", encoding="utf-8")
    (report / "table.md").write_text("| a |", encoding="utf-8")
    events = RunDirectory(place / "stage1")
    events.append_event("param", 0, ranks=2)
    with tracking.run("two", role="two-stage", job=job, params={"lr": 0.1}) as parent:
        with tracking.run("one", role="stage1", job=job, parent=parent) as child:
            child.follow(events)
            for step in range(20):
                events.append_event("metric", step, **{"train/loss": 1 / (1 + step)})
            child.metrics({"nan": float("nan"), "mean/mrr": 0.5}, step=3)
            child.model(adapter=adapter, backbone=place / "base", backbone_digest="d")
        parent.tags({"git_commit": "abc", "absent": None})
        parent.text('{"a": 1}', "data/manifest.json")
        parent.file(report / "table.md", "report")
        parent.files(report, "pages")
        parent.dataset("epic", "0123", place, {"rows": 3}, "training")
        child.register(f"model-{job}", tags={"a": 1}, runs={"parent": parent}, models={"of": child})
        parent.scores("trika", {"mrr": 0.5}, reference=f"models:/model-{job}@candidate",
                      headline={"mrr": 0.5}, contaminated=True)  # fmt: skip
    return parent


def seen(tracking: Tracking, job: str) -> dict[str, Any]:
    """All that MLflow holds of a job."""
    client, found = tracking.client, {}
    for run in client.search_runs([tracking.experiment_id], f"tags.`cft.job` = '{job}'"):
        files, folders = set(), [""]
        while folders:
            for one in client.list_artifacts(run.info.run_id, folders.pop()):
                folders.append(one.path) if one.is_dir else files.add(one.path)
        names = run.data.metrics
        found[run.data.tags["cft.role"]] = {
            "run": (run.info.run_id, run.info.run_name, run.info.status),
            "times": (run.info.start_time, run.info.end_time),
            "data": (run.data.params, run.data.tags, repr(sorted(names.items()))),
            "points": {
                name: sorted((p.step, p.timestamp, repr(p.value)) for p in points)
                for name in names
                if (points := client.get_metric_history(run.info.run_id, name))
            },
            "inputs": [one.dataset.digest for one in run.inputs.dataset_inputs],
            "models": sorted(one.model_id for one in run.outputs.model_outputs),
            "files": files,
        }
    versions = client.search_model_versions(f"name = 'model-{job}'")
    found["versions"] = [(one.version, sorted(one.tags.items())) for one in versions]
    return found


def require_everything(tracking: Tracking, job: str) -> None:
    found = seen(tracking, job)
    assert found["two-stage"]["run"][2] == found["stage1"]["run"][2] == "FINISHED"
    child_tags, parent_id = found["stage1"]["data"][1], found["two-stage"]["run"][0]
    assert child_tags["mlflow.parentRunId"] == parent_id
    losses = found["stage1"]["points"]["train/loss"]
    assert [step for step, *_ in losses] == list(range(20)), "each point once"
    assert found["stage1"]["data"][0] == {"ranks": "2"}
    assert found["two-stage"]["files"] == {
        *("data/manifest.json", "report/table.md", "pages/page.html", "pages/table.md"),
    }
    assert found["two-stage"]["inputs"] == ["0123"]
    (model,) = found["stage1"]["models"]
    ((number, tags),) = found["versions"]
    assert dict(tags) | {"cft.job": job, "a": "1", "parent": parent_id} == dict(tags)
    assert dict(tags)["of"] == f"models:/{model}"
    assert dict(tags)["score.trika/mrr"] == "0.5"
    candidate = version_of(tracking.client, f"model-{job}", "candidate")
    assert candidate is not None
    assert candidate.version == number
