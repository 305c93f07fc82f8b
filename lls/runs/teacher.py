"""The configuration of a teacher, which follows from its student's."""

from omegaconf import DictConfig, OmegaConf

from lls.config.assemble import GROUPS, format_value, override_value, parse_overrides
from lls.config.compose import compose
from lls.errors import UserError

TEACHER_INPUT_KEYS = ("name", "channels", "size", "mean", "std")  # of `dataset`: what decides a network's input


def teacher_config(cfg: DictConfig) -> DictConfig:
    """Return the configuration of the teacher that `cfg.method.teacher` describes.

    It is the student's, with these values from `cfg.method.teacher`: network, method, subset, seed, budget and
    `overrides`. A teacher with the student's network also gets the student's `network.*` keys.

    Raises UserError if the teacher cannot be composed, or if its network takes other images than the student's."""
    teacher = cfg.method.teacher
    try:
        teacher_cfg, student = compose(_choices(cfg)), OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    except UserError as error:
        raise UserError(f"method.teacher: {error}") from None
    overrides = parse_overrides(list(teacher.overrides))
    for section in {"dataset", "train", "augment", "machine"} - {override.key_or_group for override in overrides}:
        teacher_cfg[section] = student[section]
    teacher_cfg.machine.again = False  # machine.again=true is about the student alone
    teacher_cfg.seed, teacher_cfg.budget, teacher_cfg.dataset.subset = teacher.seed, teacher.budget, teacher.subset
    for override in overrides:
        if override.key_or_group not in GROUPS:
            OmegaConf.update(teacher_cfg, override.key_or_group, override.value())
    if "q" not in cfg.method:  # a Q file is used by class names; its run may have had other images
        _check_same_input(teacher_cfg, cfg)
    return teacher_cfg


def _choices(cfg: DictConfig) -> list[str]:
    teacher = cfg.method.teacher
    choices = [f"dataset={cfg.dataset.name}", f"network={teacher.network}", f"method={teacher.method}"]
    if teacher.network == cfg.network.name:
        fixed = ("name", "family")
        keys = [k for k in cfg.network if k not in fixed and not OmegaConf.is_interpolation(cfg.network, k)]
        choices += [f"network.{key}={override_value(cfg.network[key])}" for key in keys]
    return [*choices, *teacher.overrides]


def _check_same_input(teacher_cfg: DictConfig, student_cfg: DictConfig) -> None:
    for key in TEACHER_INPUT_KEYS:
        if teacher_cfg.dataset[key] != student_cfg.dataset[key]:
            of_teacher, of_student = (format_value(c.dataset[key]) for c in (teacher_cfg, student_cfg))
            reason = "because teacher and student get the same images"
            raise UserError(f"method.teacher: dataset.{key}={of_teacher}: must be {of_student}, {reason}")
