"""From what is wanted to a job that units can be run of: begun anew, or continued."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.engine.job import AnyDenoiser, Job, checkpoints_of
from fm2s_stack.engine.room import require_devices
from fm2s_stack.engine.work import Place
from fm2s_stack.errors import (
    OutputError,
    OutputExists,
    OutputIncomplete,
    StackError,
    UsageError,
)
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.job.auto_fitting import with_light
from fm2s_stack.job.auto_measuring import study
from fm2s_stack.job.completing import put_back
from fm2s_stack.job.fitting import measure_channels, train_channels
from fm2s_stack.job.holding import Holding
from fm2s_stack.job.kept_fits import KeptFits
from fm2s_stack.job.planewise_fitting import is_of_one_value
from fm2s_stack.job.planning import plan_stack
from fm2s_stack.job.record import freeze, job_attributes
from fm2s_stack.job.reload import load_frozen
from fm2s_stack.job.sameness import confirm_source
from fm2s_stack.job.space import require_space
from fm2s_stack.job.standing import Standing, require_same_terms, standing
from fm2s_stack.job.wanted import Wanted
from fm2s_stack.plan import Plan
from fm2s_stack.progress import Progress
from fm2s_stack.store.attributes import clear_output, set_attributes
from fm2s_stack.store.creation import is_half_made, mark_creation, remove_half_made
from fm2s_stack.store.frozen import change_frozen, forget_frozen
from fm2s_stack.store.journal import Journal, clear_journal
from fm2s_stack.store.omezarr import OutputLayout

COARSE = 0.5  #: noise beside which a grey level is coarse, grey levels


def open_job(wanted: Wanted, place: Place, told: Progress, hold: Holding) -> tuple[Job, Plan]:
    """Continue the job at a target, or begin it: fit, create the output, freeze.

    The output is held by the caller. Cut at any instant, what was trained stays in the
    journal, and an output without its networks is made again.

    Raises
    ------
    OutputError
        If it cannot be written, or what is there is damaged.
    MemoryTooSmall
        If no plan fits.
    StoppedEarly
        Of `hold`.
    """
    found = Standing("nothing") if wanted.target.overwrite else standing(wanted.target)
    require_same_terms(wanted.target, found, wanted.terms)
    if found.state == "frozen":
        put_back(wanted.target, told, hold)
        return _continue(wanted, found, place, told, hold)
    return _begin(wanted, place, told, hold)


def require_prepared(wanted: Wanted) -> None:
    """Refuse a share of the units of an output that has no networks yet.

    Raises
    ------
    OutputIncomplete
        If it is not prepared.
    """
    if wanted.run.units is not None and standing(wanted.target).state in ("nothing", "begun"):
        raise OutputIncomplete(
            f"{wanted.target.path} is not prepared: run the command with --prepare in place of "
            "--units first"
        )


def _continue(
    wanted: Wanted, found: Standing, place: Place, told: Progress, hold: Holding
) -> tuple[Job, Plan]:
    plan = plan_stack(
        wanted.stack, wanted.fit, write=wanted.write, run=wanted.run, trained=True, cut=found.cut
    )
    _require_means(wanted, plan, place)
    if len(plan.units) != found.told["plan"]["units"]:
        raise OutputError(
            f"{wanted.target.path} was cut into {found.told['plan']['units']} units, now it would "
            f"be {len(plan.units)}: make it anew with --overwrite"
        )
    if wanted.terms != found.told["terms"]:
        _change_terms(wanted)
    _tell(wanted, plan, place, told)
    job = _job(wanted, plan, load_frozen(wanted.target.zarr), hold, found.told["token"])
    if not wanted.is_confirmed:
        confirm_source(wanted, job, plan, told, hold)
    return job, plan


def _change_terms(wanted: Wanted) -> None:
    """Keep the terms that the rest is made under, where those differ in a harmless way."""
    if wanted.run.units is not None:  # several processes must not change one file
        raise OutputExists(
            f"{wanted.target.path} was prepared with another --on-bad-frame: run the command with "
            "--prepare in place of --units first"
        )
    change_frozen(wanted.target.zarr, terms=wanted.terms)
    set_attributes(wanted.target.zarr, terms=wanted.terms)


def _begin(wanted: Wanted, place: Place, told: Progress, hold: Holding) -> tuple[Job, Plan]:
    trained = wanted.borrowed is not None
    plan = plan_stack(wanted.stack, wanted.fit, write=wanted.write, run=wanted.run, trained=trained)
    _require_means(wanted, plan, place)
    require_space(wanted, plan)
    _tell(wanted, plan, place, told)
    if wanted.target.overwrite:
        clear_journal(wanted.folder)
    began = time.perf_counter()
    denoisers = _networks(wanted, place, told, hold)
    seconds = time.perf_counter() - began
    _tell_of_rounding(wanted, denoisers, told)
    _require_same_input(wanted)
    job = _job(wanted, plan, denoisers, hold, "")
    hold.require()
    _make_room(wanted)
    job.layout.create(job_attributes(wanted, denoisers))
    token = freeze(wanted, denoisers, plan, seconds)
    return replace(job, journal=replace(job.journal, token=token)), plan


def _require_means(wanted: Wanted, plan: Plan, place: Place) -> None:
    """Refuse what memory or devices cannot do, before any work."""
    plan.require_memory()
    itemsize = wanted.stack.image.dtype.itemsize
    require_devices(place.device, plan.cut, itemsize, wanted.write.precision)


def _require_same_input(wanted: Wanted) -> None:
    """Refuse networks that may have been trained on two inputs, and forget them."""
    if wanted.borrowed is None and wanted.stack.identity.times.have_changed():
        clear_journal(wanted.folder)
        raise StackError(
            f"{wanted.stack.path} changed while networks were trained on it: run the command again "
            "once the input is as it should be"
        )


def _make_room(wanted: Wanted) -> None:
    """Remove what stands where the output goes, and tell that it is about to be made."""
    forget_frozen(wanted.target.zarr)
    if is_half_made(wanted.target.zarr, wanted.folder):
        remove_half_made(wanted.target.zarr)
    clear_output(wanted.target.zarr)
    mark_creation(wanted.folder)


def _networks(
    wanted: Wanted, place: Place, told: Progress, hold: Holding
) -> tuple[AnyDenoiser, ...]:
    """One denoiser a channel: borrowed, trained, or only measured in mode ``frame``."""
    if wanted.borrowed is not None:
        return tuple(_own(wanted, c, lent, told) for c, lent in enumerate(wanted.borrowed))
    channels = measure_channels(wanted.stack, wanted.fit, wanted.along, told)
    if wanted.fit.mode == "frame":
        return channels
    return train_channels(
        wanted.stack,
        channels,
        wanted.fit,
        wanted.along,
        place,
        told,
        checkpoints=checkpoints_of(wanted.fits),
        kept=KeptFits(wanted.fits),
        check=hold,
    )


def _own(wanted: Wanted, c: int, lent: AnyDenoiser, told: Progress) -> AnyDenoiser:
    """A denoiser of another output for this stack: what is known of the stack is its own."""
    mine = replace(lent, nan=wanted.fit.nan)
    if isinstance(mine, LeftAlone) and not is_of_one_value(wanted.stack, c, wanted.fit, told):
        raise UsageError(
            f"--fit-from {wanted.fit_from}: its channel {lent.channel} holds one value and has no "
            "noise, that of this input has; select channels that both have"
        )
    if not isinstance(mine, NeighbourDenoiser):
        return mine
    found = study(wanted.stack, c, wanted.fit, wanted.along, mine.noise, told, to_train=False)
    here = replace(mine, background=found.background, components=found.components)
    return with_light(wanted.stack, c, here, wanted.fit, wanted.along, told)


def _job(
    wanted: Wanted, plan: Plan, denoisers: Sequence[AnyDenoiser], hold: Holding, token: str
) -> Job:
    path = str(wanted.target.zarr)
    layout = OutputLayout(path, wanted.image, plan.levels, wanted.write.ome_zarr)
    journal = Journal(str(wanted.folder), token)
    claim = hold.lock.claim
    ready = tuple(replace(one, precision=wanted.write.precision) for one in denoisers)
    return Job(wanted.stack, layout, plan.along, wanted.fit, ready, journal, claim)


def _tell(wanted: Wanted, plan: Plan, place: Place, told: Progress) -> None:
    for note in wanted.stack.notes:
        told.note(note)
    image, count = wanted.stack.image, len(plan.units)
    sizes = " x ".join(map(str, image.real_shape))
    told.note(
        f"{wanted.stack.format}, {image.axes} {sizes} {image.dtype}: {count} "
        f"unit{'s' * (count > 1)} on {place.where}, "
        f"{plan.projected_bytes / 1e9:.2f} GB of memory at most{' each' * (place.processes > 1)}"
    )


def _tell_of_rounding(wanted: Wanted, denoisers: Sequence[AnyDenoiser], told: Progress) -> None:
    """Note that grey levels are coarse where the noise is smaller than one."""
    for denoiser in denoisers:
        if wanted.image.dtype.kind == "f" or isinstance(denoiser, Denoiser | LeftAlone):
            continue
        noise = float(denoiser.noise.variance(denoiser.noise.mean_level)) ** 0.5
        if noise < COARSE:
            told.note(
                f"channel {denoiser.channel}: its noise is {noise:.2g} grey levels, and results "
                f"are rounded to whole ones; --dtype float32 keeps the fractions"
            )
