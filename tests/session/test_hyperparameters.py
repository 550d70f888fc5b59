"""What the HParams page reads, taken apart by TensorBoard's own parsers."""

from tensorboard.plugins.hparams import metadata

from bnexp.session.board import hyperparameter_summary

VALUES = {"model.norm": "bn", "data.drop_last": True, "optimizer.lr": 0.1, "data.batch_size": 32}


def parts(ahead=()):
    """Return the experiment and this run's row."""
    summary = hyperparameter_summary(VALUES, ["loss/val"], ahead)
    contents = {value.tag: value.metadata.plugin_data.content for value in summary.value}
    experiment = metadata.parse_experiment_plugin_data(contents[metadata.EXPERIMENT_TAG])
    return experiment, metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])


def test_each_value_keeps_its_kind():
    _, row = parts()
    kinds = {name: value.WhichOneof("kind") for name, value in row.hparams.items()}
    assert kinds == {
        "model.norm": "string_value",
        "data.drop_last": "bool_value",
        "optimizer.lr": "number_value",
        "data.batch_size": "number_value",
    }


def test_the_columns_ahead_count_as_different_and_no_others():
    experiment, _ = parts(ahead=["optimizer.lr", "model.norm", "unknown"])
    assert {info.name for info in experiment.hparam_infos if info.differs} == {"optimizer.lr", "model.norm"}
    assert {info.name for info in experiment.hparam_infos} == set(VALUES)


def test_a_row_bears_the_name_of_its_run():
    # TensorBoard names a row by its group, and by the run where there is none.
    assert parts()[1].group_name == ""
