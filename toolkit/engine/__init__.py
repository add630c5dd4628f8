"""Training and testing: mmengine's Runner, its hooks and schedules, around loops of our own.

From outside, four functions do all:

- `toolkit.run.train.train(run, work_dir, resume=False, capsule_input=None) -> TrainResult`
- `toolkit.run.test.test(run, work_dir, checkpoint_path=None, capsule_input=None) -> dict`
- `toolkit.run.rerun.rerun(work_dir, new_dir) -> RerunReport`
- `toolkit.engine.components.build_system(run)` with `checkpoint.load_weights(system, path)`

`run` is a `RunConfig`; `capsule.CapsuleInput(tree, text, origins, command)` is the config as it was
written, for the run capsule. This module imports nothing, so that asking for one of them is all
that is paid for.
"""
