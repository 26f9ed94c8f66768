"""The cell and line magics: parse the line, call the session, show. No logic."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError

from reactornb.notebook import Session, load, unload
from reactornb_magics import complete
from reactornb_magics.line import HELP, Asked, parse, parse_cell

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext reactornb`."""
    session = load(shell)
    register(shell, session)
    complete.install(shell, session)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext reactornb`; runs go on."""
    unload()
    complete.uninstall(shell)
    for kind in ("cell", "line"):
        shell.magics_manager.magics[kind].pop("reactor", None)
    shell.magics_manager.magics["cell"].pop("lf", None)


def register(shell: Any, session: Session) -> None:
    """Make `%%reactor`, `%%lf` and `%reactor` known to a shell."""

    def reactor_cell(line: str, cell: str) -> None:
        """Declare a reactor class: the cell is the class's body.

            %%reactor Rollout
            weights = Input()
            episode = Output()
            horizon: int = 100

            @reaction(weights)
            def on_weights(self, weights, episode):
                episode.set(self.play(weights.value))

        The names of reactornb are in scope. `%%reactor Name Base` derives from another reactor class; `--doc` shows what
        was declared. Running the cell again replaces the class for the next start. Without magic:
        `class Rollout(Reactor): …`, or `@reactor` above a plain class.
        """
        __tracebackhide__ = True
        asked = _parse_cell(session, "reactor", line, cell)
        if asked is None:
            return
        session.define(asked.name, cell, base=asked.options["base"])
        if asked.options["doc"]:
            session.say(session.inspect(asked.name))

    def lf_cell(line: str, cell: str) -> None:
        """Declare the reactors of a Lingua Franca program (Python target).

            %%lf
            target Python { timeout: 1 sec }
            main reactor {
              timer t(0, 100 msec)
              reaction(t) {= print(lf.time.logical_elapsed()) =}
            }

        Its reactors become Python names that other cells can use, and it may instantiate reactors declared in Python.
        `%%lf Name` names a main reactor that has no name of its own (Main otherwise); `%reactor start` then runs it.
        Without magic: `reactornb.lf.loads(text, file="…")`.
        """
        __tracebackhide__ = True
        asked = _parse_cell(session, "lf", line, cell)
        if asked is None:
            return
        if not asked.name.isidentifier():
            raise UsageError(f"%%lf ({session.here(cell)}): {asked.name!r} is not a valid class name: %%lf Main")
        session.say(f"declared {', '.join(session.define_lf(cell, main=asked.name)) or 'nothing'}")

    def reactor_line(line: str) -> Any:
        __tracebackhide__ = True
        return _run_line(session, line)

    reactor_line.__doc__ = HELP
    shell.register_magic_function(reactor_cell, "cell", "reactor")
    shell.register_magic_function(lf_cell, "cell", "lf")
    shell.register_magic_function(reactor_line, "line", "reactor")


def _parse_cell(session: Session, magic: str, line: str, cell: str) -> Asked | None:
    """The parsed line of a cell magic; None if it only asked for help, which is shown."""
    __tracebackhide__ = True
    try:
        asked = parse_cell(magic, line)
    except UsageError as error:
        words = str(error).removeprefix(f"%%{magic}: ")
        raise UsageError(f"%%{magic} ({session.here(cell)}): {words}") from None
    if asked.help is not None:
        session.say(asked.help)
        return None
    return asked


def _run_line(session: Session, line: str) -> Any:
    __tracebackhide__ = True
    asked = parse(line, session.shell.user_ns)
    if asked.help is not None:
        session.say(asked.help)
        return None
    given = asked.options
    match asked.command:
        case "start":
            return session.start(asked.name, parameters=asked.parameters, **given)
        case "sweep":
            return session.sweep(asked.name, parameters=asked.parameters, **given)
        case "verify":
            return session.verify(asked.name, parameters=asked.parameters, **given)
        case "stop":
            end = session.abandon if given.pop("abandon") else session.stop
            session.say("\n\n".join(map(session.describe, end(asked.name, **given))) or "stopped")
        case "pause":
            session.pause(asked.name, **given)
        case "keep" | "checkpoint" | "resume" | "rewind" | "runs":
            return _run_kept(session, asked)
        case "run":
            return session.run(asked.name, alive=False, command="run")
        case "step":
            session.step(given["tags"], asked.name)
        case "set" if given.pop("widget"):
            session.control(given.pop("path"), asked.name, **given)
        case "set" if asked.parameters:
            session.say(session.set(given["path"], asked.parameters[given["path"]], asked.name))
        case "set":
            session.say(session.parameters(given["path"], asked.name))
        case "graph":
            view = session.graph(asked.name, parameters=asked.parameters, levels=given["levels"], depth=given["depth"])
            return view if given["save"] is None else session.say(f"saved {view.save(given['save'])}")
        case "curves":
            if given["save"] is not None:
                drawn = session.plot(*given["names"], metrics=given["metrics"], axis=given["axis"], iqm=given["iqm"])
                return session.say(f"saved {drawn.save(given['save'])}")
            return session.curves(*given["names"], metrics=given["metrics"], axis=given["axis"])
        case "watch" | "profile" | "timeline":
            return _look(session, asked)
        case "inspect":
            session.say(session.inspect(asked.name))
        case "list":
            session.say(session.list())
    if asked.command in ("pause", "step", "status"):
        session.say(session.status("" if given.get("every") else asked.name))
    return None


def _look(session: Session, asked: Asked) -> Any:
    """What a run does, or has learnt."""
    __tracebackhide__ = True
    given = asked.options
    match asked.command:
        case "watch":
            return _watch(session, **given)
        case "profile":
            return session.profile(asked.name, banks=given["banks"])
    return session.show_timeline(asked.name, last=given["last"], save=given["save"])


def _watch(session: Session, names: list[str], films: bool, save: str | None, **how: Any) -> Any:
    """What a run films, or episodes that are played now."""
    __tracebackhide__ = True
    if films:
        return session.films(*names[:1])
    episodes = session.watch(*names, **how)
    return episodes if save is None else session.say(f"saved {episodes.save(save)}")


def _run_kept(session: Session, asked: Asked) -> Any:
    """What concerns runs on disk; `resume` is for paused ones, too."""
    __tracebackhide__ = True
    given = asked.options
    match asked.command:
        case "keep":
            session.say(session.keep(given["on"]))
        case "checkpoint":
            session.say(session.checkpoint(given["label"], asked.name))
        case "resume":
            run = session.go_on(asked.name, set=asked.parameters, **given)
            if run is None:
                session.say(session.status("" if given["every"] else asked.name))
            return run
        case "rewind":
            return session.rewind(given.pop("place"), asked.name, **given)
        case "runs" if given.pop("tree"):
            return session.tree(given["condition"])
        case "runs":
            return session.stored(**given)
    return None
