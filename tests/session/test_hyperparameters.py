"""What the HParams page reads, taken apart by TensorBoard's own parsers."""

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams import api_pb2, metadata

from bnexp.session.board import PATTERN, TensorBoardWriter, hyperparameter_summary

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


def values_at(folder, tag):
    """Return the bytes of the HParams values with a tag, in the order of their writing."""
    (path,) = folder.glob(PATTERN)
    events = LegacyEventFileLoader(str(path)).Load()
    values = [value for event in events for value in event.summary.value if value.tag == tag]
    return [value.metadata.plugin_data.content for value in values]


def test_a_run_has_an_end_only_when_it_ended(tmp_path):
    for name, end in {"open": None, "finished": False, "diverged": True}.items():
        writer = TensorBoardWriter(tmp_path / name)
        writer.hyperparameters(VALUES, ["loss/val"])
        if end is not None:
            writer.ended(5, diverged=end)
        writer.close()
    ends = {
        name: [
            metadata.parse_session_end_info_plugin_data(content).status
            for content in values_at(tmp_path / name, metadata.SESSION_END_INFO_TAG)
        ]
        for name in ("open", "finished", "diverged")
    }
    success, failure = api_pb2.Status.Value("STATUS_SUCCESS"), api_pb2.Status.Value("STATUS_FAILURE")
    assert ends == {"open": [], "finished": [success], "diverged": [failure]}
