"""A command that a launcher started several times would train one run several times."""

import re

import pytest

from bnexp.errors import ConfigError
from bnexp.session.terms import is_one_of_several

TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "but MASTER_ADDR is not set and MASTER_PORT is not set. One run in 2"),
        ({**TORCHRUN, "RANK": "2"}, "but RANK is 2, expected a number from 0 to 1. "),
        ({**TORCHRUN, "LOCAL_RANK": "first"}, "but LOCAL_RANK is first, expected a number from 0 to 1. "),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, "mpirun started 4 processes "),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0"}, "srun started 8 processes (SLURM_STEP_NUM_TASKS=8), and"),
    ],
)
def test_processes_that_could_not_train_together_are_refused_with_the_lines_to_type(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        is_one_of_several(environment, ["train", "my run.yaml", "--seed", "3"])
    assert re.search(
        r": torchrun --nproc-per-node \d -m bnexp train 'my run.yaml' --seed 3\. In one: ", str(refused.value)
    )
    assert str(refused.value).endswith(" In one: bnexp train 'my run.yaml' --seed 3")


@pytest.mark.parametrize("srun", [{}, {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}])
def test_processes_of_torchrun_train_together_wherever_it_was_started(srun: dict[str, str]) -> None:
    assert is_one_of_several({**TORCHRUN, **srun}, ["train", "a.yaml"])


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "many", "RANK": "0"},
        {"WORLD_SIZE": "1", "RANK": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"},  # torchrun in each
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # the script of a job, outside any step
    ],
)
def test_one_process_is_none_of_several(environment: dict[str, str]) -> None:
    assert not is_one_of_several(environment, ["train", "a.yaml"])
