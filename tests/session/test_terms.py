"""A command that a launcher started several times would train one run several times."""

import pytest

from bnexp.errors import ConfigError
from bnexp.session.terms import refuse_several_processes


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}, "torchrun"),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, "mpirun"),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0"}, "srun"),
    ],
)
def test_one_of_several_processes_is_refused_with_the_line_to_type(environment: dict[str, str], launcher: str) -> None:
    with pytest.raises(ConfigError, match=f"^{launcher} started . processes .*bnexp train 'my run.yaml' --seed 3$"):
        refuse_several_processes(environment, ["train", "my run.yaml", "--seed", "3"])


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "many", "RANK": "0"},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # the script of a job, outside any step
    ],
)
def test_one_process_is_none_of_several(environment: dict[str, str]) -> None:
    refuse_several_processes(environment, ["train", "a.yaml"])
