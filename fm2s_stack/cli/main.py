"""The command ``fm2s-stack``. Commands are imported when they are called."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module

import click

from fm2s_stack import __version__
from fm2s_stack.cli.say import say
from fm2s_stack.cli.signals import STOPPED_EARLY, stop_on_signals
from fm2s_stack.errors import Fm2sError, StoppedEarly, UsageError
from fm2s_stack.stopping import Stop

COMMANDS = {
    "denoise": "Denoise a recording into an OME-Zarr, TIFF or PNG.",
    "info": "Describe an input or output, and what a run would cost.",
    "preview": "Try settings on a few frames, and draw what each makes of one.",
    "batch": "Denoise each of many recordings into a folder.",
    "slurm": "Print or submit scripts that denoise on a SLURM cluster.",
    "seal": "Complete an output whose units were done in shares.",
    "status": "Show how far outputs are.",
    "verify": "Check what is stored, against its input too, and repair it.",
    "evaluate": "Measure an output against its truth: noise, traces, brightness.",
    "presets": "List the published noise presets.",
    "simulate": "Make a two-photon calcium movie with its truth.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their names, imported when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"fm2s_stack.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fm2s-stack")
def cli() -> None:
    """Denoise large microscopy stacks with FM2S, trained on the recording itself.

    \b
    fm2s-stack denoise movie.tif out.zarr -c srdtrans
    """  # noqa: D301 - click wants the character


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 75 stopped early."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # It logs what it finds odd in a file; what matters of that is in our errors and notes.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    try:
        with stop_on_signals(Stop()) if _is_continued(words) else nullcontext():
            cli(words, standalone_mode=False, obj=words)  # the provenance tells the words
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fm2s-stack"
        _fail(f"{error.format_message().rstrip('.')}; see {command} --help", 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 1)
    except StoppedEarly as error:
        text = " ".join(str(error).split())
        if text.startswith("stopped early"):
            text = text.replace("stopped", "Stopped", 1)
            text += "" if "to continue" in text else "; run the same command again to continue"
        say(text)
        sys.exit(STOPPED_EARLY)
    except UsageError as error:
        _fail(str(error), 2)
    except Fm2sError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)


def _is_continued(words: Sequence[str]) -> bool:
    """Whether a command is one that can be stopped early, and called again to continue."""
    return bool({"denoise", "batch", "seal", "verify"} & set(words[:1]))


def _fail(message: str, code: int) -> None:
    say(f"Error: {' '.join(message.split())}")
    sys.exit(code)


if __name__ == "__main__":
    main()
