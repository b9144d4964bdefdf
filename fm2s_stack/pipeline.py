"""Open, plan, fit, apply, write, seal: the whole line, top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from fm2s_stack.engine.choose import opened_place
from fm2s_stack.engine.job import AnyDenoiser, Job
from fm2s_stack.engine.run import planes_of, run_units
from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.engine.work import Place
from fm2s_stack.errors import StoppedEarly
from fm2s_stack.job.deciding import settle_device
from fm2s_stack.job.fitting import measure_channels, train_channels
from fm2s_stack.job.holding import Holding, held
from fm2s_stack.job.planning import plan_stack
from fm2s_stack.job.prepare import open_job, require_prepared
from fm2s_stack.job.reload import load_denoisers
from fm2s_stack.job.rereading import intact_units
from fm2s_stack.job.sameness import watched
from fm2s_stack.job.sealing import Judge, bad_frames, done_units, finish, is_done, progress_text
from fm2s_stack.job.standing import require_same_terms, standing, tidy
from fm2s_stack.job.summary import Clock, Summary, finished_summary, summary_of
from fm2s_stack.job.trust import measure_trust
from fm2s_stack.job.wanted import Wanted, settings_of, settle
from fm2s_stack.plan import Plan, Unit, share_of
from fm2s_stack.progress import Progress, Silent, unheard
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stack.bad_frames import bad_frame_lines
from fm2s_stack.stack.base import Stack
from fm2s_stack.stopping import Stop

__all__ = [
    "Summary",
    "denoise_stack",
    "fit_stack",
    "load_denoisers",
    "make",
    "plan_stack",
    "prepare_stack",
]


def denoise_stack(
    stack: Stack,
    output: str | Path,
    fit: FitSettings | str | None = None,
    *,
    write: WriteSettings = WriteSettings(),  # noqa: B008 - frozen
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    fit_from: str | Path | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Summary:
    """Denoise a stack into an OME-Zarr, a TIFF or a PNG, by the output's suffix.

    What an earlier call with the same input and settings left unfinished is continued, and
    what it finished is left as it is.

    Parameters
    ----------
    stack
        From `open_stack`.
    output
        ``.zarr``; ``.tif`` or ``.tiff``: OME-TIFF; ``.png`` for one plane.
    fit
        How to train: settings, or the name of a preset; None: the noise is measured (``auto``).
    write, run
        What the output looks like, and where to compute.
    fit_from
        An output whose networks and intensity maps are used instead of training.
    command
        The command line, for the provenance.
    progress
        Told what happens; None: silent.
    stop
        Through which another thread or a signal ends the run early.

    Returns
    -------
    Summary
        What was done and what it cost.

    Raises
    ------
    StoppedEarly
        If `stop` asked for it; the same call continues.
    Fm2sError
        One of `fm2s_stack.errors`. An output that was begun says ``incomplete``.
    """
    wanted = settle(stack, output, fit, write, run, fit_from, command)
    return make(wanted, progress or Silent(), stop or Stop())


def make(wanted: Wanted, told: Progress, stop: Stop) -> Summary:
    """Make what is wanted, or what is left of it; as `denoise_stack`."""
    if done := _finished(wanted, told):
        return done
    wanted.target.require_folder()
    with _held(wanted, stop, told) as hold:
        # Another run may have finished it while we waited for the lock.
        return _complete(wanted, told, hold) or _make(wanted, told, hold)


def _make(wanted: Wanted, told: Progress, hold: Holding) -> Summary:
    clock, run = Clock(), wanted.run
    require_prepared(wanted)
    with _place(wanted, told, hold) as place:
        wanted = replace(wanted, run=place.settle(run))
        job, plan = open_job(wanted, place, told, hold)
        clock.lap("fit")
        before = _before(job, run, told, hold)
        with watched(job, run.units):
            records = _run(job, plan, before, run, place, told, hold)
        clock.lap("apply")
    trust: tuple[str, ...] = ()
    if run.units is None:
        trust = finish(wanted.target, hold, records, _judge(wanted, hold))
    for line in bad_frame_lines(wanted.stack, bad_frames(records)):
        told.note(line)
    return summary_of(wanted, plan, place.device, job.denoisers, records, len(before), clock, trust)


def prepare_stack(
    stack: Stack,
    output: str | Path,
    fit: FitSettings | str | None = None,
    *,
    write: WriteSettings = WriteSettings(),  # noqa: B008 - frozen
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    fit_from: str | Path | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> int:
    """Plan, fit and freeze: all that comes before the units. Parameters as `denoise_stack`.

    Returns
    -------
    int
        Units that are still to do.
    """
    wanted = settle(stack, output, fit, write, run, fit_from, command)
    told, stop = progress or Silent(), stop or Stop()
    if _finished(wanted, told):
        return 0
    wanted.target.require_folder()
    with _held(wanted, stop, told) as hold:
        if _complete(wanted, told, hold):
            return 0
        with _place(wanted, told, hold) as place:
            _, plan = open_job(replace(wanted, run=place.settle(run)), place, told, hold)
        return len(plan.units) - len(done_units(wanted.target.zarr))


def fit_stack(
    stack: Stack,
    fit: FitSettings | str | None = None,
    *,
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> tuple[AnyDenoiser, ...]:
    """Train on a stack: one denoiser a channel.

    Parameters
    ----------
    stack
        From `open_stack`.
    fit
        Settings, or the name of a preset; None: the noise is measured (``auto``). The mode
        ``frame``, of which `denoise_stack` trains a network for each plane as it goes, is
        ``stack`` here where there are several planes.
    run
        Where to compute.
    progress
        Told what happens; None: silent.

    Raises
    ------
    Fm2sError
        If settings, device or pixels cannot be used.
    """
    along = run.along or stack.image.default_along()
    settings = settings_of(stack, fit, None, along)
    if settings.mode == "frame":
        settings = replace(settings, mode="stack")
    told = progress or Silent()
    run = settle_device(settings, run)
    channels = measure_channels(stack, settings, along, told)
    with opened_place(run, stack, None, told, unheard) as place:
        return train_channels(stack, channels, settings, along, place, told)


def _place(
    wanted: Wanted, told: Progress, check: Callable[[], None]
) -> AbstractContextManager[Place]:
    run = settle_device(wanted.fit, wanted.run)
    if run.device != wanted.run.device != "auto":
        told.note(f"--device {wanted.run.device}: planes by themselves are denoised on the CPU")
    return opened_place(run, wanted.stack, wanted.folder, told, check)


def _judge(wanted: Wanted, check: Callable[[], None]) -> Judge:
    return partial(measure_trust, wanted.stack, wanted.target.zarr, wanted.along, check=check)


def _finished(wanted: Wanted, told: Progress) -> Summary | None:
    """The summary of an output that is finished; what differs from what is wanted is an error."""
    if wanted.target.overwrite:
        return None
    found = standing(wanted.target)
    require_same_terms(wanted.target, found, wanted.terms)
    if found.state != "finished":
        return None
    tidy(wanted.target, told.note)
    told.note(f"{wanted.target.path} is complete: nothing is left to do")
    return finished_summary(wanted, found.told)


def _complete(wanted: Wanted, told: Progress, hold: Holding) -> Summary | None:
    """The same under the lock, for one too that lacks its export only."""
    if wanted.target.overwrite:
        return None
    found = standing(wanted.target)
    require_same_terms(wanted.target, found, wanted.terms)
    if found.state not in ("sealed", "finished"):
        return None
    if wanted.run.units is None:
        finish(wanted.target, hold)
        told.note(f"{wanted.target.path} is complete: nothing is left to do")
    else:
        told.note(f"every unit of {wanted.target.path} is done: fm2s-stack seal exports it")
    return finished_summary(wanted, found.told)


def _before(job: Job, run: RunSettings, told: Progress, hold: Holding) -> Mapping[int, UnitRecord]:
    """Units that earlier runs did, read again where this one is to seal them."""
    if run.units is not None:
        return done_units(job.layout.path)
    return intact_units(job.layout.path, told, hold)


def _run(
    job: Job,
    plan: Plan,
    before: Mapping[int, UnitRecord],
    run: RunSettings,
    place: Place,
    told: Progress,
    check: Callable[[], None],
) -> list[UnitRecord]:
    """Run the units that are not done; records of all that are, of this and earlier runs."""
    mine = share_of(plan.units, run.units or (1, 1))
    left = [unit for unit in mine if not is_done(unit, before)]
    if before:
        told.note(f"continues: {len(before)} of {len(plan.units)} units are done")
    if not left:
        return list(before.values())
    told.start(*_step(job, left, place))
    records = run_units(job, left, plan.workers, place, told, check, plan.threads)
    told.finish()
    return list({**before, **{record.index: record for record in records}}.values())


@contextmanager
def _held(wanted: Wanted, stop: Stop, told: Progress) -> Iterator[Holding]:
    """Hold the output; an early stop tells how far it came and what to do."""
    try:
        with held(wanted.folder, stop, told.note, wanted.run.units) as hold:
            yield hold
    except StoppedEarly as stopped:
        far = progress_text(wanted.target)
        # With --overwrite what was done would be thrown away, and is as good as new.
        how = " without --overwrite" if wanted.target.overwrite and far else " again"
        raise StoppedEarly(f"{stopped}; {far}run the same command{how} to continue") from None


def _step(job: Job, left: Sequence[Unit], place: Place) -> tuple[str, int, str]:
    """Name, amount and kind of the work that the units are."""
    *_, rows, columns = job.layout.image.shape
    is_tiled = (left[0].y[1] - left[0].y[0], left[0].x[1] - left[0].x[0]) != (rows, columns)
    name = "fit and denoise" if job.fit.mode == "frame" else "denoise"
    planes = sum(map(planes_of, left))
    return f"{name} on {place.where}", planes, "tiles of planes" if is_tiled else "planes"
