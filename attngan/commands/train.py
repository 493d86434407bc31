"""``attngan pretrain`` and ``attngan train``: a YAML recipe to a finished run. A YAML key is a constructor argument."""

import importlib.util
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

from attngan.checkpoint import open_checkpoint
from attngan.commands.renamed_keys import refuse_renamed_keys
from attngan.commands.trust import TRUST, admit, refuse_untrusted, take_trusted
from attngan.data.datamodule import TextImageDataModule
from attngan.errors import FileInTheWayError, InputError, MissingFileError, MissingPackageError, require_at_least
from attngan.training.callbacks import Budget, KeepLast, ProgressLines, RandomState, RunCheckpoints, RunProgressBar
from attngan.training.damsm_module import DAMSMModule
from attngan.training.gan_module import GANModule
from attngan.training.initial_weights import start_generator
from attngan.training.pictures import TrainingPictures
from attngan.training.quick_evaluation import QuickEvaluation

RESUME = "--resume"


class RecipeCLI(LightningCLI):
    """Lightning's command line, with a folder for the run and an orderly way to go on with one."""

    def __init__(self, command: str, model_class: type[LightningModule], arguments: list[str]) -> None:
        self.command = command
        super().__init__(
            model_class,
            TextImageDataModule,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={"num_sanity_val_steps": 0, "log_every_n_steps": 10, "enable_model_summary": False},
            parser_kwargs={"prog": f"attngan {command}", "description": f"attngan {command}: train from a recipe."},
            auto_configure_optimizers=False,
            args=arguments,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        read_batches_as_whole_numbers(parser)
        parser.add_argument(
            "--run_dir",
            type=Path | None,
            help="Folder of the run: config.yaml, checkpoints, pictures, logs. Default: runs/ and the recipe's name.",
        )
        parser.add_argument(
            "--logger",
            type=Literal["tensorboard", "wandb", "none"],
            default="tensorboard",
            help="Where losses and pictures are logged (wandb: pip install 'attngan[wandb]').",
        )
        parser.add_argument(RESUME, type=str | None, help="Folder of a run (or one of its checkpoints) to go on with.")
        parser.add_argument(
            "--init_from",
            type=Path | None,
            help="Checkpoint whose weights to start from, on these or other captions: for pretrain the encoders, for "
            "train the generator and discriminators. Known words keep their embeddings; new ones start fresh in "
            "pretrain and become <unk> in train. Unlike --resume it starts a new run.",
        )
        parser.add_argument(
            TRUST,
            type=str | None,
            help="Module whose classes a recipe may name beside those of attngan, torch.optim, torchvision and "
            "Lightning's callbacks and loggers: naming one runs its code (SECURITY.md). Given on the command line "
            "alone, also with --resume, once for each module.",
        )
        parser.add_lightning_class_args(RunCheckpoints, "checkpoints")
        parser.add_lightning_class_args(KeepLast, "last")
        parser.add_lightning_class_args(Budget, "budget")
        if self.command == "train":  # a generator has pictures and scores
            parser.add_lightning_class_args(TrainingPictures, "pictures")
            parser.add_lightning_class_args(QuickEvaluation, "quick")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        super().parse_arguments(parser, args)
        if self.config.trust is not None:  # the command line's own were taken out
            raise InputError(f"the recipe says trust: {self.config.trust}: only the command line can ({TRUST} MODULE)")
        if not isinstance(self.config.seed_everything, bool):
            require_at_least(0, 2**32 - 1, seed_everything=self.config.seed_everything)

    def before_instantiate_classes(self) -> None:
        config = self.config
        if config.run_dir is None:
            given = [Path(str(c)).stem for c in (config.config or [])]
            config.run_dir = Path("runs") / (given[-1] if given else self.command)
        self.run_dir = Path(config.run_dir)
        last = self.run_dir / "checkpoints" / "last.ckpt"
        if last.is_file() and config.resume is None:
            raise FileInTheWayError(
                f"{self.run_dir} holds a run already. Go on with it: attngan {self.command} --resume {self.run_dir}; "
                "or start another one: --run_dir FOLDER"
            )
        folders = {"checkpoints": "checkpoints", "last": "checkpoints", "pictures": "pictures", "quick": "quick"}
        for part, folder in folders.items():
            if part in config and config[part].folder is None:
                config[part].folder = self.run_dir / folder
        config.trainer.default_root_dir = str(self.run_dir)
        # a bar where somebody looks at it, lines in a log file
        wanted = config.trainer.enable_progress_bar is not False
        config.trainer.enable_progress_bar = wanted and sys.stdout.isatty()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        kwargs["logger"] = self._logger()
        bar = RunProgressBar() if self.config.trainer.enable_progress_bar else ProgressLines()
        self.trainer_defaults["callbacks"] = [bar, RandomState()]
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError) as error:  # nothing but what `trainer:` says is at work here
            raise InputError(f"trainer: {error}") from error

    def _logger(self) -> Any:
        name = self.config.logger
        if name == "none":
            return False
        if name == "wandb":
            from pytorch_lightning.loggers import WandbLogger

            if importlib.util.find_spec("wandb") is None:
                raise MissingPackageError("--logger wandb needs an extra: pip install 'attngan[wandb]'")
            return WandbLogger(name=self.run_dir.name, save_dir=str(self.run_dir))
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(str(self.run_dir), name="", version="", default_hp_metric=False)

    def _start_from(self, path: Path) -> None:
        """Lets the module start from the weights of another run; a run that is gone on with has its own."""
        fresh = self.config.resume is None
        if isinstance(self.model, GANModule):
            self.model.reads_other_captions = True
            if fresh:
                print(start_generator(self.model, open_checkpoint(path)))
        elif fresh:
            self.model.initial = open_checkpoint(path)

    def fit(self) -> None:
        """Trains, and says where things are."""
        if self.config.init_from is not None:
            self._start_from(Path(self.config.init_from))
        self.run_dir.mkdir(parents=True, exist_ok=True)
        # null is a value: a generator without text is one by embed_dim: null
        self.parser.save(self.config, self.run_dir / "config.yaml", overwrite=True, skip_none=False)
        # weights_only: a checkpoint holds plain values and tensors, and is read as such
        self.trainer.fit(self.model, self.datamodule, ckpt_path=self.config.resume, weights_only=True)
        keeper = next(c for c in self.trainer.callbacks if isinstance(c, KeepLast))  # type: ignore[attr-defined]
        if keeper.stopped_by is not None:
            print(f"stopped by {keeper.stopped_by}. Go on with: attngan {self.command} --resume {self.run_dir}")
            raise SystemExit(130 if keeper.stopped_by == "SIGINT" else 143)
        print(f"finished: {keeper.path}")


def _with_resume(command: str, arguments: list[str]) -> list[str]:
    """``--resume FOLDER`` alone suffices: the run's own config.yaml and its last checkpoint are added."""
    given = [i for i, a in enumerate(arguments) if a == RESUME or a.startswith(RESUME + "=")]
    if not given:
        return arguments
    at = given[-1]
    inline = arguments[at].partition("=")[2]
    if not inline and at + 1 >= len(arguments):
        raise InputError(f"--resume needs the folder of a run: attngan {command} --resume runs/NAME")
    place = Path(inline or arguments[at + 1])
    rest = arguments[:at] + arguments[at + (1 if inline else 2) :]
    checkpoint = place if place.is_file() else place / "checkpoints" / "last.ckpt"
    run = checkpoint.parent.parent
    if not checkpoint.is_file():
        raise MissingFileError(f"there is nothing to go on with: no {checkpoint}")
    start = [RESUME, str(checkpoint)]
    if "--config" not in rest:
        if not (run / "config.yaml").is_file():
            raise MissingFileError(f"{run} has no config.yaml: name the recipe with --config")
        start = ["--config", str(run / "config.yaml"), *start, "--run_dir", str(run)]
    entry = open_checkpoint(checkpoint).entry
    if entry.generator and entry.damsm:
        start += ["--model.damsm", str(checkpoint)]  # the checkpoint holds its DAMSM: the file it came from may be gone
    stage1 = entry.generator and entry.generator["init_args"].get("stage1")
    if stage1:  # likewise StackGAN's first stage
        start += ["--model.generator.init_args.stage1", json.dumps(stage1)]
    return start + rest


def pretrain(arguments: list[str], callbacks: Sequence[Callback] = ()) -> None:
    """Trains the DAMSM, then scores it on the test split: the best checkpoint, or where none is chosen the last one.

    Args:
        arguments: What the command line says after the command.
        callbacks: What else is told of the training.
    """
    cli = _recipe("pretrain", DAMSMModule, arguments, callbacks)
    cli.fit()
    folder = cli.run_dir / "checkpoints"
    name, chosen = "best", folder / "best.ckpt"
    if not chosen.is_file():
        name, chosen = "last", folder / "last.ckpt"
    print(f"the test split, by the {name} checkpoint ({chosen}):")
    cli.trainer.test(cli.model, cli.datamodule, ckpt_path=str(chosen), weights_only=True)


def train(arguments: list[str], callbacks: Sequence[Callback] = ()) -> None:
    """Trains a generator. Arguments as of `pretrain`."""
    _recipe("train", GANModule, arguments, callbacks).fit()


def _recipe(
    command: str, model_class: type[LightningModule], arguments: list[str], callbacks: Sequence[Callback]
) -> RecipeCLI:
    torch.set_float32_matmul_precision("high")
    _quieten()
    if "--config" not in arguments and RESUME not in " ".join(arguments) and not {"-h", "--help"} & set(arguments):
        raise InputError(f"name a recipe: attngan {command} --config configs/NAME.yaml (see configs/ for them)")
    arguments, trusted = take_trusted(arguments)
    arguments = _with_resume(command, arguments)
    refuse_untrusted(arguments, trusted)
    admit(trusted)
    if model_class is GANModule:
        refuse_renamed_keys(arguments)
    cli = RecipeCLI(command, model_class, arguments)
    cli.trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
    return cli


def _quieten() -> None:
    """Lightning's tips and its warnings of what is meant to be so."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    for message in (
        ".*have no `validation_step`.*",  # a GAN's validation is its scores
        ".*in eval mode at the start of training.*",  # the frozen DAMSM and the moving average
        ".*does not have many workers.*",  # from the image cache, one process suffices
        ".*LeafSpec.*",
        ".*LightningCLI's args parameter.*",  # the command line is ours, its rest is Lightning's
        ".*`isinstance\\(treespec.*",
        ".*The number of training batches.*is smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message)


def read_batches_as_whole_numbers(parser: LightningArgumentParser) -> None:
    """A limit of 1 is one batch, not 1.0, which is all of them.

    Lightning's annotation is int or float, and jsonargparse takes the first that fits. Which one is first depends on
    what was imported before Lightning: typing keeps one union of both orders.
    """
    for action in parser._actions:
        if action.dest == "trainer.overfit_batches" or action.dest.startswith("trainer.limit_"):
            # not int | float, which is one object for both orders
            action._typehint = Union[int, float, None]  # type: ignore[attr-defined]  # noqa: UP007
