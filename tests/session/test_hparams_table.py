"""One table of the hyperparameters of all runs, read by TensorBoard's own plugin."""

import json
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.plugins.hparams import api_pb2, list_session_groups, metadata
from werkzeug.test import Client

from bnexp.runs.folder import META, write_json
from bnexp.session.board import hyperparameter_summary

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "html5lib", DeprecationWarning)  # of TensorBoard's own
    from bnexp.session.hparams_table import AllRuns, HParamsOfAllRuns, one_table, with_words

RUNS: dict[str, dict[str, Any]] = {
    "mlp": {"model.bias": True, "optimizer.lr": 0.05, "model.norm": "bn", "data.drop_last": True},
    "later": {"model.bias": "auto", "optimizer.lr": 0.1, "model.norm": "bn", "data.drop_last": False},
    "resnet": {"model.bias": False, "optimizer.lr": 0.05, "model.norm": "bn", "model.depth": 8},
}


def found(runs=RUNS):
    """Return what TensorBoard keeps of runs, each with a metric of its own."""
    summaries = {run: hyperparameter_summary(values, ["loss/val", f"loss/{run}"], []) for run, values in runs.items()}
    return {
        run: {value.tag: value.metadata.plugin_data.content for value in summary.value}
        for run, summary in summaries.items()
    }


def columns_of(table):
    experiments = [metadata.parse_experiment_plugin_data(tags[metadata.EXPERIMENT_TAG]) for tags in table.values()]
    assert all(experiment == experiments[0] for experiment in experiments)
    return {info.name: info for info in experiments[0].hparam_infos}, experiments[0].metric_infos


def words(info):
    return [value.string_value for value in info.domain_discrete.values]


def test_every_key_of_any_run_is_a_column():
    columns, metrics = columns_of(one_table(found(), {}))
    assert set(columns) == {key for values in RUNS.values() for key in values}
    assert {info.name.tag for info in metrics} == {"loss/val", "loss/mlp", "loss/later", "loss/resnet"}


def test_columns_differ_where_values_do_or_are_missing():
    columns, _ = columns_of(one_table(found(), {}))
    assert {name for name, info in columns.items() if info.differs} == set(columns) - {"model.norm"}
    lr = columns["optimizer.lr"]
    assert (lr.domain_interval.min_value, lr.domain_interval.max_value) == (0.05, 0.1)
    assert [value.bool_value for value in columns["data.drop_last"].domain_discrete.values] == [False, True]


def test_of_runs_that_are_alike_the_usual_columns_are_shown():
    columns, _ = columns_of(one_table(found({"a": RUNS["mlp"], "b": RUNS["mlp"]}), {}))
    assert {name for name, info in columns.items() if info.differs} == {"model.norm", "optimizer.lr"}


def test_what_is_a_switch_here_and_a_word_there_is_a_word_in_every_run():
    table = one_table(found(), {})
    columns, _ = columns_of(table)
    bias = columns["model.bias"]
    assert bias.type == api_pb2.DataType.Value("DATA_TYPE_STRING")
    assert words(bias) == ["auto", "false", "true"]
    rows = {
        run: metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG])
        for run, tags in table.items()
    }
    assert {run: row.hparams["model.bias"].string_value for run, row in rows.items()} == {
        "mlp": "true",
        "later": "auto",
        "resnet": "false",
    }
    mixed = one_table(found({"a": {"x": 2.0}, "b": {"x": "linear"}, "c": {"x": 1e-3}}), {})
    assert words(columns_of(mixed)[0]["x"]) == ["0.001", "2", "linear"]


def test_what_cannot_be_parsed_is_left_out():
    runs = found()
    runs["mlp"][metadata.SESSION_START_INFO_TAG] = b"\xff\xff no protobuf"
    runs["later"][metadata.EXPERIMENT_TAG] = b"\xff\xff"
    runs["without"] = {}
    assert set(one_table(runs, {})) == {"later", "resnet"}


def test_a_run_that_was_made_longer_shows_its_length_of_now(tmp_path):
    announced = {"one": {"training.epochs": 2}, "other": {"training.epochs": 2}}
    for run in announced:
        (tmp_path / run).mkdir()
        (tmp_path / run / "config.yaml").write_text("training: {steps: 30}")
    write_json(tmp_path / "one" / META, {"status": "finished", "lengthened_from": [{"steps": 12}]})
    table = context_over(tmp_path, announced).hparams_metadata(None, "")
    rows = {
        run: metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG]).hparams
        for run, tags in table.items()
    }
    lengths = {run: {key: value.number_value for key, value in row.items()} for run, row in rows.items()}
    assert lengths == {"one": {"training.steps": 30}, "other": {"training.epochs": 2}}


def context_over(tmp_path, runs=RUNS):
    """Return what the page asks, over runs whose events were read."""
    series = {
        run: {tag: SimpleNamespace(plugin_content=content) for tag, content in tags.items()}
        for run, tags in found(runs).items()
    }
    provider = SimpleNamespace(list_tensors=lambda *_, **__: series, read_last_scalars=lambda *_, **__: {})
    return AllRuns(SimpleNamespace(logdir=str(tmp_path), data_provider=provider))


def rows_found(context, **column):
    asked = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=api_pb2.Status.values(), start_index=0, slice_size=99, col_params=[column] if column else []
    )
    groups = list_session_groups.Handler(None, context, "", asked).run().session_groups
    return {group.sessions[0].name: api_pb2.Status.Name(group.sessions[0].status) for group in groups}


def test_a_filter_finds_and_an_order_sorts_every_run(tmp_path):
    context = context_over(tmp_path)
    found_by = {
        value: set(rows_found(context, hparam="model.bias", filter_discrete=[value]))
        for value in ("auto", "true", "false")
    }
    assert found_by == {"auto": {"later"}, "true": {"mlp"}, "false": {"resnet"}}
    assert list(rows_found(context, hparam="model.bias", order="ORDER_ASC")) == ["later", "resnet", "mlp"]


@pytest.mark.parametrize(("values", "found"), [([True, False], 2), ([True], 1), (["auto", False], 2)])
def test_a_filter_by_switches_finds_them_where_another_run_has_a_word(values, found, tmp_path):
    plugin = HParamsOfAllRuns(context_over(tmp_path).tb_context)
    filtered = {"hparam": "model.bias", "filterDiscrete": values}
    asked = {"allowedStatuses": ["STATUS_UNKNOWN"], "colParams": [filtered], "startIndex": 0, "sliceSize": 500}
    answer = Client(plugin.get_plugin_apps()["/session_groups"]).post("/", data=json.dumps(asked))
    assert len(answer.get_json().get("sessionGroups", [])) == found


def test_a_request_that_is_no_filter_stays():
    for body in (b"", b"[]", b"{}", b'{"colParams": 1}', b'{"colParams": [1]}'):
        assert with_words(body) == body


def test_the_status_is_that_of_the_records_and_follows_them(tmp_path):
    statuses = {"finished": "SUCCESS", "diverged": "FAILURE", "failed": "FAILURE", "interrupted": "UNKNOWN"}
    for status in ("running", *statuses):
        (tmp_path / status).mkdir()
        write_json(tmp_path / status / META, {"status": status})
    context = context_over(tmp_path, dict.fromkeys([*statuses, "running", "foreign"], RUNS["mlp"]))
    # A run without a readable figure is damaged, whatever meta.json says.
    expected = {run: f"STATUS_{word}" for run, word in {**statuses, "finished": "FAILURE"}.items()}
    assert rows_found(context) == {**expected, "running": "STATUS_RUNNING", "foreign": "STATUS_UNKNOWN"}
    write_json(tmp_path / "running" / META, {"status": "diverged"})
    assert rows_found(context)["running"] == "STATUS_FAILURE"


def test_what_differs_most_often_stands_first_and_no_limit_hides_it(tmp_path):
    many = {**RUNS, "mlp": {**RUNS["mlp"], "model.norm": "ln", **{f"a{number}": 1.0 for number in range(30)}}}
    asked = context_over(tmp_path, many)
    experiment = asked.experiment_from_metadata(None, "", True, asked.hparams_metadata(None, ""), None, None)
    assert [info.name for info in experiment.hparam_infos][:2] == ["model.norm", "optimizer.lr"]
    assert len(experiment.hparam_infos) == 5 + 30
