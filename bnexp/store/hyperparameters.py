"""TensorBoard's table of hyperparameters: what a run tells of itself, as torch and TensorBoard lay it down.

Written here because torch's `hparams` makes numbers of booleans and cannot say which columns come first.
"""

from collections.abc import Collection, Mapping

from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import (  # type: ignore[attr-defined]
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

Hyperparameter = bool | float | str

_TYPES = {bool: "DATA_TYPE_BOOL", int: "DATA_TYPE_FLOAT64", float: "DATA_TYPE_FLOAT64", str: "DATA_TYPE_STRING"}
_FIELDS = {bool: "bool_value", int: "number_value", float: "number_value", str: "string_value"}


def hyperparameter_summary(
    values: Mapping[str, Hyperparameter], metrics: Collection[str], ahead: Collection[str]
) -> Summary:
    """Return the three values that the HParams page looks for: the columns, this run's row, and that it is whole.

    Args:
        values: flat, `section.key` to a number, boolean or text.
        metrics: tags of scalars, the columns beside them.
        ahead: the keys whose columns are shown first. The page asks for those that differ between runs, which one run
            cannot know, and shows no more than five unasked.
    """
    columns = [
        api_pb2.HParamInfo(name=name, type=_TYPES[type(value)], differs=name in ahead)  # type: ignore[attr-defined]
        for name, value in values.items()
    ]
    beside = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]  # type: ignore[attr-defined]
    row = SessionStartInfo()
    for name, value in values.items():
        setattr(row.hparams[name], _FIELDS[type(value)], value)
    parts = {
        metadata.EXPERIMENT_TAG: {"experiment": api_pb2.Experiment(hparam_infos=columns, metric_infos=beside)},  # type: ignore[attr-defined]
        metadata.SESSION_START_INFO_TAG: {"session_start_info": row},
        metadata.SESSION_END_INFO_TAG: {"session_end_info": SessionEndInfo(status="STATUS_SUCCESS")},
    }
    return Summary(value=[_value(tag, HParamsPluginData(**part)) for tag, part in parts.items()])


def _value(tag: str, data: HParamsPluginData) -> Summary.Value:
    described = metadata.create_summary_metadata(data)  # type: ignore[no-untyped-call]
    return Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
