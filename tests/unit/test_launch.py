"""The command that starts the ranks says everything itself."""

import os
import sys
from pathlib import Path

import pytest
import torch
import yaml

from cft.errors import CftError
from cft.recipe import LaunchRecipe
from cft.training.launch import (
    CONFIG,
    launch_command,
    launch_environment,
    resolve_device,
    world_size_for,
)


def accelerate_arguments(command):
    """What accelerate itself makes of the command."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    args = launch_command_parser().parse_args(command[3:])
    return _validate_launch_command(args)[0]


@pytest.mark.parametrize("world", [1, 2, 5])
def test_accelerate_reads_the_command_as_meant(world):
    args = accelerate_arguments(launch_command(Path("run"), world, "cpu"))
    assert args.num_processes == world
    assert args.num_machines == 1
    assert args.multi_gpu is (world > 1)
    assert not args.cpu
    assert args.mixed_precision == "no"
    assert args.dynamo_backend == "no"
    assert args.module
    assert (args.training_script, args.training_script_args) == ("cft.training.main", ["run"])
    if world > 1:
        assert args.main_process_port == 0


def test_the_configuration_file_is_shipped_and_neutral():
    config = yaml.safe_load(CONFIG.read_text())
    assert config["distributed_type"] == "NO"
    assert config["mixed_precision"] == "no"


def test_cpu_environment_shares_the_cores_and_hides_gpus():
    environment = launch_environment(2, "cpu")
    cores = len(os.sched_getaffinity(0))
    assert environment["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["ACCELERATE_USE_CPU"] == "true"
    assert launch_environment(64, "cpu")["OMP_NUM_THREADS"] == "1"


def test_ranks_follow_the_recipe_and_the_machine():
    assert world_size_for(LaunchRecipe(device="cpu", num_processes=3)) == 3
    assert world_size_for(LaunchRecipe(device="cpu")) == min(2, os.cpu_count() or 1)


def test_a_missing_device_is_refused():
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(CftError, match=f"this machine has no {missing}"):
        resolve_device(missing)
    assert resolve_device("cpu") == "cpu"
