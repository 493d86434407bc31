"""``attngan pretrain`` and ``attngan train``: a YAML recipe to a finished run. A YAML key is a constructor argument."""

import importlib.util
import json
import logging
import platform
import sys
import typing
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Union

import torch
import yaml
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

from attngan import __version__, ranks
from attngan.checkpoint import open_checkpoint
from attngan.commands.damsm_scores import print_scores
from attngan.commands.devices import (
    goes_on_by_itself,
    keep_batch,
    remember_start,
    settle_devices,
    with_begun,
)
from attngan.commands.recipe_errors import told_of_recipe
from attngan.commands.renamed_keys import refuse_renamed_keys
from attngan.commands.run_folder import (
    CHECKPOINTS,
    CONFIG,
    CONFIG_FILE,
    LAST,
    RESUME,
    claimed_run,
    default_run_dir,
    has_checkpoints,
    is_whole,
    put_into,
    refuse_other_run,
    spelled_out,
    to_store,
    with_resume,
)
from attngan.commands.trainer_flags import settle_trainer, take_trial, told_of_trainer
from attngan.commands.trust import TRUST, admit, refuse_untrusted, take_trusted
from attngan.data.datamodule import TextImageDataModule
from attngan.device import described_machine
from attngan.errors import InputError, MissingPackageError, UsageError, require_at_least
from attngan.files import write_whole
from attngan.launching import SeveralDevices, run_in_processes
from attngan.option_errors import with_underscores
from attngan.short_help import LOGGERS, RUN
from attngan.stopping import Stopped
from attngan.terminal import say
from attngan.training.batch_norm import GlobalBatchNorm
from attngan.training.callbacks import (
    AfterStep,
    Agreement,
    Budget,
    KeepLast,
    ProgressLines,
    RandomState,
    RunCheckpoints,
    RunProgressBar,
    WholeFiles,
)
from attngan.training.csv_log import METRICS, CSVLog
from attngan.training.damsm_module import DAMSMModule
from attngan.training.gan_module import GANModule
from attngan.training.initial_weights import start_generator
from attngan.training.pictures import TrainingPictures
from attngan.training.quick_evaluation import QuickEvaluation
from attngan.training.strategy import GlobalBatchStrategy


class RecipeCLI(LightningCLI):
    """Lightning's command line, with a folder for the run and an orderly way to go on with one.

    Args:
        command: "train" or "pretrain".
        model_class: What is trained.
        arguments: What the command line says after the command.
        claims: Holds the run's folder until it is closed.
        single: It can run in this process alone.
    """

    def __init__(
        self,
        command: str,
        model_class: type[LightningModule],
        arguments: list[str],
        claims: ExitStack,
        single: bool = False,
    ) -> None:
        self.command = command
        self.claims = claims
        self.single = single
        self.arguments = arguments
        super().__init__(
            model_class,
            TextImageDataModule,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 10,
                "enable_model_summary": False,
                "benchmark": True,
                "sync_batchnorm": True,
            },
            parser_kwargs={
                "prog": f"attngan {command}",
                "description": f"attngan {command}: train from a recipe.",
                "exit_on_error": False,
            },
            auto_configure_optimizers=False,
            args=arguments,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        read_batches_as_whole_numbers(parser)
        types: dict[str, Any] = {
            "run_dir": Path | None,
            "logger": Literal[tuple(LOGGERS)],
            "resume": str | None,
            "init_from": Path | None,
            "trust": str | None,
        }
        for name, of_type in types.items():
            default = LOGGERS[0] if name == "logger" else None
            parser.add_argument(f"--{name}", type=of_type, default=default, help=RUN[name][1])
        parser.add_lightning_class_args(RunCheckpoints, "checkpoints")
        parser.add_lightning_class_args(KeepLast, "last")
        parser.add_lightning_class_args(Budget, "budget")
        if self.command == "train":  # a generator has pictures and scores
            parser.add_lightning_class_args(TrainingPictures, "pictures")
            parser.add_lightning_class_args(QuickEvaluation, "quick")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            assert isinstance(args, list)
            raise UsageError(told_of_recipe(error.message, parser, args)) from error
        if self.config.trust is not None:  # the command line's own were taken out
            raise InputError(f"the recipe says trust: {self.config.trust}: only the command line can ({TRUST} MODULE)")
        if not isinstance(self.config.seed_everything, bool):
            require_at_least(0, 2**32 - 1, seed_everything=self.config.seed_everything)

    def before_instantiate_classes(self) -> None:
        config = self.config
        settle_trainer(config, self.command)
        settle_devices(config, self.single)
        self.trial_batches = take_trial(config, self.command)
        if self.trial_batches:
            trial = TemporaryDirectory(prefix="attngan-trial-")
            config.run_dir = ranks.broadcast(self.claims.enter_context(trial) if ranks.is_first() else "")
        given = [Path(str(recipe)) for recipe in config.config or []]
        self.run_dir = Path(config.run_dir or default_run_dir(given, self.command))
        # one of the processes writes and decides; it is alone the only one to know what was there before
        if ranks.broadcast(ranks.is_first() and self._claim()):
            raise _Restarted(self.run_dir)
        parts_given = any(word.partition("=")[0] == "--model.accumulate" for word in self.arguments)
        self.begun = keep_batch(config, self.run_dir / CONFIG_FILE, parts_given)
        put_into(self.run_dir, config)
        # a bar where somebody looks at it, lines in a log file
        wanted = config.trainer.enable_progress_bar is not False
        config.trainer.enable_progress_bar = wanted and sys.stdout.isatty()

    def _claim(self) -> bool:
        """Takes the run's folder for this process; whether the run was restarted, and has something to go on from."""
        self.claims.enter_context(claimed_run(self.run_dir))
        resumed = self.config.resume and Path(self.config.resume)
        if resumed is None and has_checkpoints(self.run_dir) and goes_on_by_itself(self.run_dir):
            return True
        refuse_other_run(self.run_dir, resumed, self.command)
        remember_start(self.run_dir)
        return False

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        kwargs["logger"] = self._logger()
        bar = RunProgressBar() if self.config.trainer.enable_progress_bar else ProgressLines()
        self.trainer_defaults["callbacks"] = [bar, RandomState(), AfterStep(), Agreement()]
        given = self.config_init.trainer.plugins or []
        kwargs["plugins"] = [*(given if isinstance(given, list) else [given]), WholeFiles()]
        if ranks.world_size() > 1:
            kwargs |= self._together(kwargs["plugins"])
        try:
            return super().instantiate_trainer(**kwargs)
        # nothing but what `trainer:` says is at work here
        except (MisconfigurationException, ValueError, ImportError, RuntimeError) as error:
            raise InputError(told_of_trainer(error, self.config)) from error

    def _together(self, plugins: list[Any]) -> dict[str, Any]:
        """What the trainer is told where several processes train."""
        trainer = self.config_init.trainer
        together: dict[str, Any] = {"plugins": [*plugins, TorchElasticEnvironment()], "sync_batchnorm": False}
        if trainer.sync_batchnorm:
            together["plugins"].append(GlobalBatchNorm())
        if trainer.strategy == "auto":
            together["strategy"] = GlobalBatchStrategy(timeout=ranks.TIMEOUT)
        return together

    def _logger(self) -> Any:
        name = self.config.logger
        if name == "none":
            return False
        if name == "wandb":
            from pytorch_lightning.loggers import WandbLogger

            if importlib.util.find_spec("wandb") is None:
                raise MissingPackageError("--logger wandb needs an extra: pip install 'attngan[wandb]'")
            return WandbLogger(name=self.run_dir.name, save_dir=str(self.run_dir))
        if name == "csv":
            return CSVLog(self.run_dir / METRICS)
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(str(self.run_dir), name="", version="", default_hp_metric=False)

    def _start_from(self, path: Path) -> None:
        """Lets the module start from the weights of another run; a run that is gone on with has its own."""
        fresh = self.config.resume is None
        if isinstance(self.model, GANModule):
            self.model.reads_other_captions = True
            if fresh:
                say(start_generator(self.model, open_checkpoint(path)))
        elif fresh:
            self.model.initial = open_checkpoint(path)

    def fit(self) -> None:
        """Trains, and says where things are."""
        if self.config.init_from is not None:
            self._start_from(Path(self.config.init_from))
        # null is a value: a generator without text is one by embed_dim: null
        recipe = self.parser.dump(with_begun(to_store(self.config, self.run_dir), self.begun), skip_none=False)
        ranks.wait_for_all()  # all have read what it said before
        if ranks.is_first():
            made_by = f"# attngan {__version__}, Python {platform.python_version()}, {described_machine()}"
            write_whole(self.run_dir / CONFIG_FILE, f"{made_by}\n{recipe}")
        for logger in self.trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(recipe))
        last = self.run_dir / CHECKPOINTS / LAST
        try:
            # weights_only: a checkpoint holds plain values and tensors, and is read as such
            self.trainer.fit(self.model, self.datamodule, ckpt_path=self.config.resume, weights_only=True)
        except Stopped as stopped:
            goes_on = f"--resume {self.run_dir}" if last.is_file() else f"--config {self.run_dir}/config.yaml"
            say(f"stopped by {stopped}. Go on with: attngan {self.command} {goes_on}")
            raise SystemExit(stopped.exit_code) from None
        except MisconfigurationException as error:
            raise InputError(told_of_trainer(error, self.config)) from error
        if self.config.resume is not None and not is_whole(last):  # another checkpoint was at the run's end already
            self.trainer.save_checkpoint(last, weights_only=False)
        if self.trial_batches:
            say(f"the trial of {self.trial_batches} batches ran through; nothing of it is kept (fast_dev_run)")
        else:
            say(f"finished: {last}")

    def test(self) -> None:
        """Scores the best checkpoint on the test split, or where none is chosen the last one; a table, and a file."""
        try:
            self.datamodule.split("test")
        except InputError as error:  # the training is finished, and its checkpoints are there
            say(f"the test split is not scored: {error}")
            return
        folder = self.run_dir / CHECKPOINTS
        # rank 0 has written them; another machine may not see each at once
        chosen = ranks.broadcast(folder / "best.ckpt" if (folder / "best.ckpt").is_file() else folder / LAST)
        say(f"the test split, by the {chosen.stem} checkpoint ({chosen}):")
        options: dict[str, Any] = {"ckpt_path": str(chosen), "weights_only": True, "verbose": False}
        (scores,) = self.trainer.test(self.model, self.datamodule, **options) or [{}]
        print_scores(scores)
        if ranks.is_first() and not self.trial_batches:
            write_whole(self.run_dir / "test_scores.json", json.dumps(scores, indent=1))


def pretrain(arguments: list[str], callbacks: Sequence[Callback] = ()) -> int:
    """Trains the DAMSM, then scores it on the test split: the best checkpoint, or where none is chosen the last one.

    Args:
        arguments: What the command line says after the command.
        callbacks: What else is told of the training, which then has one device.

    Returns:
        The exit code.
    """

    def run(cli: RecipeCLI) -> None:
        cli.fit()
        cli.test()

    return _with_recipe(run, "pretrain", DAMSMModule, arguments, callbacks)


def train(arguments: list[str], callbacks: Sequence[Callback] = ()) -> int:
    """Trains a generator. As `pretrain`."""
    return _with_recipe(RecipeCLI.fit, "train", GANModule, arguments, callbacks)


class _Restarted(Exception):  # noqa: N818 - no error: the command goes on with its own run
    """The process was restarted, and the run's folder holds what it trained before."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir)
        self.run_dir = run_dir


def _with_recipe(
    run: Callable[[RecipeCLI], None],
    command: str,
    model_class: type[LightningModule],
    arguments: list[str],
    callbacks: Sequence[Callback],
) -> int:
    """Does what the recipe is read for: here, or where it asks for several devices in a process for each."""
    try:
        with _recipe(command, model_class, arguments, callbacks) as cli:
            run(cli)
    except SeveralDevices as wanted:
        return run_in_processes(wanted.count, [command, *arguments])
    except _Restarted as restarted:
        return _with_recipe(run, command, model_class, [*arguments, RESUME, str(restarted.run_dir)], callbacks)
    return 0


@contextmanager
def _recipe(
    command: str, model_class: type[LightningModule], arguments: list[str], callbacks: Sequence[Callback]
) -> Iterator[RecipeCLI]:
    """The recipe, ready to be trained; until the block ends its run is ours."""
    torch.set_float32_matmul_precision("high")
    _quieten()
    ranks.join(arguments)
    arguments = spelled_out([with_underscores(argument) for argument in arguments])
    if not {CONFIG, RESUME, "-h", "--help"} & {*arguments}:
        raise InputError(
            f"name a recipe: attngan {command} --config NAME (`attngan recipes` lists them), or a YAML file"
        )
    arguments, trusted = take_trusted(arguments)
    # rank 0 alone looks which checkpoint is whole: others could find another one
    arguments = ranks.broadcast(with_resume(command, arguments) if ranks.is_first() else [])
    refuse_untrusted(arguments, trusted)
    admit(trusted)
    if model_class is GANModule:
        refuse_renamed_keys(arguments)
    with ExitStack() as claims:
        cli = RecipeCLI(command, model_class, arguments, claims, single=bool(callbacks))
        cli.trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
        yield cli


def _quieten() -> None:
    """Lightning's tips and its warnings of what is meant to be so."""
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*have no `validation_step`.*",  # a GAN's validation is its scores
        ".*in eval mode at the start of training.*",  # the frozen DAMSM and the moving average
        ".*Checkpoint directory.*exists and is not empty.*",  # a run that is gone on with
        ".*does not have many workers.*",  # from the image cache, one process suffices
        ".*LeafSpec.*",
        ".*recommended to use `self.log.*sync_dist.*",  # what is logged is gathered already, and the same everywhere
        ".*LightningCLI's args parameter.*",  # the command line is ours, its rest is Lightning's
        ".*`isinstance\\(treespec.*",
        ".*The number of training batches.*is smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message)


def read_batches_as_whole_numbers(parser: LightningArgumentParser) -> None:
    """A limit, or an interval, of 1 is one batch, not 1.0, which is all of them.

    Lightning's annotations are int or float, and jsonargparse takes the first that fits. Which one is first depends on
    what was imported before Lightning: typing keeps one union of both orders.
    """
    for action in parser._actions:
        kinds = typing.get_args(getattr(action, "_typehint", None))
        if action.dest.startswith("trainer.") and {int, float} <= {kind for kind in kinds if isinstance(kind, type)}:
            # by its members one by one: int | float is one object for both orders
            members = (int, *(kind for kind in kinds if kind is not int))
            action._typehint = Union[members]  # type: ignore[attr-defined]  # noqa: UP007
