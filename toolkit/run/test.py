"""Test a run's system on its test data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint, components, mmengine_compat, overlap
from toolkit.engine.evaluator import Evaluation
from toolkit.engine.process import distributed, precision
from toolkit.engine.runner import Runner
from toolkit.errors import ToolkitError
from toolkit.io.json_values import write_json
from toolkit.io.run_layout import METRICS_FILE
from toolkit.io.shown_output import protect_output
from toolkit.run import capsule
from toolkit.run import work_dir as work_dirs
from toolkit.run.capsule import CapsuleInput


def test(
    run: RunConfig,
    work_dir: Path | str,
    checkpoint_path: Path | str | None = None,
    *,
    capsule_input: CapsuleInput | None = None,
) -> dict[str, float]:
    """Test, and write `metrics.json` into a folder: the values, for each metric whether higher is
    better, the checkpoint, the hash of the test data, and each metric's rows, one per item; and
    `overlap` where the test holds what the training held.

    Under torchrun every process calls this and shares the work.

    Args:
        run: the config, from `toolkit.registry.build.fill`.
        work_dir: where to write; may be the folder of the training.
        checkpoint_path: whose weights to test; None for a system that has none.
        capsule_input: the config as written; kept where the folder does not hold a run yet.

    Returns:
        The metrics by name.
    Raises:
        ToolkitError: something does not fit, or weights are needed and none are given.
        RunError: a failure while testing.
    """
    work_dir = Path(work_dir).absolute()
    work_dirs.check_links(work_dir)
    weights = None if checkpoint_path is None else Path(checkpoint_path)
    mmengine_compat.silence_warnings()
    device = precision.choose_device(run.runtime)
    with protect_output(), distributed.join_processes(device):
        parts = components.build_for_testing(run, device, _find_training(weights))
        if weights is None and _has_weights(parts.system):
            raise ToolkitError(
                f'{type(parts.system).__name__} has weights; give --checkpoint best, last or a path'
            )
        content = checkpoint.load_weights(parts.system, weights) if weights is not None else {}
        alone = not work_dirs.holds_run(work_dir)
        if distributed.broadcast(alone):
            extra = {'checkpoint': None if weights is None else str(weights.absolute())}
            distributed.run_on_main(
                lambda: capsule.begin(work_dir, capsule_input, parts, 'test', **extra)
            )
        runner = Runner(parts, work_dir)
        facts = {
            'precision': run.runtime.precision,
            'overlap': overlap.explain(parts.overlaps, run.allow_overlap),
            'test_data': parts.fingerprints().get('test', ''),
            'prediction': runner.system.describe_prediction(),
        }
        try:
            metrics = runner.test(weights)
        except Exception:
            # A hook failed after the measurement: what was measured is not lost with it.
            measured = runner.test_loop.result
            if measured is not None and distributed.is_main():
                _write(work_dir, measured, weights, content, facts)
                print(f'the metrics are in {work_dir / METRICS_FILE}', flush=True)
            raise
        finally:
            runner.close()
        result = runner.test_loop.result
        distributed.run_on_main(lambda: _write(work_dir, result, weights, content, facts))
        if distributed.broadcast(alone):
            distributed.run_on_main(lambda: capsule.end(work_dir, 'finished'))
        return metrics


test.__test__ = False  # type: ignore[attr-defined]  # a name that pytest would collect


def _has_weights(system: nn.Module) -> bool:
    return any(True for _ in system.parameters())


def _find_training(weights: Path | None) -> dict[str, overlap.Groups]:
    """Finds what the training of weights held, from the folder of its run."""
    return {} if weights is None else overlap.load_identities(components.find_run_folder(weights))


def _write(
    work_dir: Path,
    result: Evaluation,
    weights: Path | None,
    content: dict[str, Any],
    facts: Mapping[str, Any],
) -> None:
    meta = content.get('meta') if isinstance(content.get('meta'), dict) else None
    record = {
        'checkpoint': None if weights is None else str(weights),
        'iter': meta.get('iter') if meta else None,
        'metrics': result.metrics,
        'directions': result.directions,
        **{name: fact for name, fact in facts.items() if fact},
        'rows': result.rows,
    }
    write_json(work_dir / METRICS_FILE, checkpoint.to_plain(record))
