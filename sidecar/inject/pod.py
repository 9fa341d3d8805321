"""One pod: what has to be added so that the sidecar runs in it, or why that cannot be.

Only ever adds. What is there already, be it a container, a volume, a variable or an annotation,
stays as it is; where that leaves something undone, a warning says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.inject import container
from sidecar.inject.container import CONFIG_FOLDER, NAME
from sidecar.inject.settings import (
    ADMIN_PORT,
    DATA_PORT,
    LABEL,
    PREFIX,
    READERS,
    Mode,
    Settings,
    Unusable,
    amount,
    with_texts,
)
from sidecar.inject.workloads import Path, member

SHORT_GRACE = 2  # seconds, in which a native sidecar has time to end by itself
_OURS = frozenset({LABEL, *(PREFIX + name for name in READERS)})


class Refused(Exception):
    """The sidecar cannot be injected; the message says what is in the way, and what to do."""


@dataclass(frozen=True, slots=True)
class Add:
    """One addition, as RFC 6902 means it; the path is relative to the pod or its template."""

    path: Path
    value: object


@dataclass(slots=True)
class Plan:
    """What is added, in order, and what a person should know of it."""

    additions: list[Add] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    state: str = "injected"  # or why nothing was done


def plan(pod: Mapping[str, object], defaults: Settings, *, ends: bool = False) -> Plan:
    """What the sidecar needs in a pod, or in a template of pods; raises Refused.

    `ends` says that the pod is done when its containers are, as that of a Job.
    """
    made = Plan()
    label = member(pod, ("metadata", "labels", LABEL))
    if str(label).lower() == "false":
        made.state = f"left alone: its label {LABEL} is false"
        return made
    spec = _mapping(pod, "spec")
    listed = {key: _list(spec, key) for key in ("initContainers", "containers", "volumes")}
    if not listed["containers"]:
        raise Refused("It has no containers, so there is no application to serve.")
    own = [one for key in ("initContainers", "containers") for one in listed[key] if _is_own(one)]
    if own:
        _check_own(own, listed, made)
        made.state = "injected already"
        return made
    settings = _settings(pod, defaults, made)
    _check(spec, listed, settings, ends)
    _warn(spec, listed, settings, made)
    _add_container(listed, settings, made)
    _add_volumes(listed["volumes"], settings, made)
    _add_env(listed, settings, made)
    _add_metadata(pod, settings, made)
    return made


def _settings(pod: Mapping[str, object], defaults: Settings, made: Plan) -> Settings:
    """The defaults with what the pod's annotations say."""
    annotations = member(pod, ("metadata", "annotations"))
    told = annotations if isinstance(annotations, Mapping) else {}
    texts: dict[str, str] = {}
    for key, value in told.items():
        if not key.startswith(PREFIX):
            continue
        if (name := key.removeprefix(PREFIX)) in READERS:
            texts[name] = str(value)
        elif key not in _OURS:
            known = ", ".join(READERS)
            made.warnings.append(f"the annotation {key} is not known; there are {known}")
    try:
        return with_texts(defaults, texts, "the annotation " + PREFIX)
    except Unusable as error:
        raise Refused(str(error)) from None


# --- what is in the way --------------------------------------------------------------------


def _is_own(one: Mapping[str, object]) -> bool:
    return one.get("name") == NAME


def _check_own(
    own: Sequence[Mapping[str, object]],
    listed: Mapping[str, Sequence[Mapping[str, object]]],
    made: Plan,
) -> None:
    """A container of our name is the sidecar, and stands as it should; raises Refused."""
    for one in own:
        mounts = [
            mount for mount in _list(one, "volumeMounts")
            if str(mount.get("mountPath", "")).startswith(CONFIG_FOLDER)
        ]  # fmt: skip
        if any("subPath" in mount or "subPathExpr" in mount for mount in mounts):
            raise Refused(
                f"Its container {NAME} mounts the configuration by subPath, and such a mount never "
                "shows a change. Mount the whole folder."
            )
        args = one.get("args")
        if not (isinstance(args, list) and "run" in args and mounts):
            raise Refused(
                f"It has another container with the name {NAME}: one that does not run with a "
                f"configuration in {CONFIG_FOLDER}. Rename that one, or remove it."
            )
    first = listed["initContainers"][0] if listed["initContainers"] else None
    if own[0] in listed["containers"]:
        return
    if own[0].get("restartPolicy") != "Always":
        raise Refused(
            f"Its init container {NAME} has no restartPolicy: Always, so the application would "
            "wait for its end, which never comes. Remove it, and inject anew."
        )
    if own[0] is not first:
        made.warnings.append(
            f"{NAME} is not the first of its init containers; those before it cannot call it"
        )


def _check(
    spec: Mapping[str, object],
    listed: Mapping[str, Sequence[Mapping[str, object]]],
    settings: Settings,
    ends: bool,
) -> None:
    """Raise Refused where the sidecar cannot run, or would do harm."""
    windows = (member(spec, ("os", "name")), member(spec, ("nodeSelector", "kubernetes.io/os")))
    if "windows" in windows:
        raise Refused("Its pods run on Windows, and the sidecar's image is for Linux.")
    every = [*listed["initContainers"], *listed["containers"]]
    for one in every:
        for port in _list(one, "ports"):
            _check_port(str(one.get("name")), port, settings.data_port)
    if amount(settings.memory_request) > amount(settings.memory_limit):
        raise Refused(
            f"The sidecar would ask for {settings.memory_request} of memory with a limit of "
            f"{settings.memory_limit}, and no cluster takes that. Raise the limit: --memory-limit, "
            f"or the annotation {PREFIX}memory-limit."
        )
    if settings.mode is Mode.CONTAINER and (
        ends or spec.get("restartPolicy", "Always") != "Always"
    ):
        raise Refused(
            "Its pods are to end, and in mode container the sidecar would keep them running for "
            "ever. Use mode native, which needs Kubernetes 1.29 or newer."
        )
    names = [str(one.get("name")) for one in every]
    if unknown := [name for name in settings.containers or () if name not in names]:
        raise Refused(f"There is no container {unknown[0]!r} in it; there are {', '.join(names)}.")


def _check_port(name: str, port: Mapping[str, object], data_port: int) -> None:
    if str(port.get("protocol", "TCP")) != "TCP":
        return
    taken = port.get("containerPort")
    if taken == data_port:
        raise Refused(
            f"Its container {name!r} listens on port {taken}, where the sidecar serves. Give "
            f"the sidecar another one: --data-port, or the annotation {PREFIX}data-port."
        )
    if taken == ADMIN_PORT:
        raise Refused(
            f"Its container {name!r} listens on port {taken}, which the sidecar has for probes "
            "and metrics. Give the application another one."
        )


def _warn(
    spec: Mapping[str, object],
    listed: Mapping[str, Sequence[Mapping[str, object]]],
    settings: Settings,
    made: Plan,
) -> None:
    if spec.get("hostNetwork") is True:
        made.warnings.append(
            "it uses the node's network (hostNetwork): everything on that node can call the "
            "sidecar, and a second such pod there finds its ports taken"
        )
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < SHORT_GRACE:
        made.warnings.append(
            f"its terminationGracePeriodSeconds is {grace}: requests in flight are cut at the end"
        )
    elif settings.mode is Mode.CONTAINER and isinstance(grace, int) and grace <= container.HOLD:
        made.warnings.append(
            f"its terminationGracePeriodSeconds is {grace}, and the sidecar is held open for "
            f"{container.HOLD} s: requests in flight are cut at the end"
        )
    if settings.data_port != DATA_PORT:
        made.warnings.append(
            f"its configuration has to say listeners.data.port: {settings.data_port} as well"
        )
    early = [one.get("name") for one in listed["initContainers"]]
    if settings.mode is Mode.CONTAINER:
        for name in [name for name in settings.containers or () if name in early]:
            made.warnings.append(
                f"its init container {name!r} ends before a sidecar in mode container starts"
            )


# --- what is added -------------------------------------------------------------------------


def _add_container(
    listed: Mapping[str, Sequence[Mapping[str, object]]],
    settings: Settings,
    made: Plan,
) -> None:
    """It is the first of its kind: whatever starts after a native sidecar may call it."""
    new = container.container(settings)
    if settings.mode is Mode.CONTAINER:
        made.additions.append(Add(("spec", "containers", 0), new))
    elif listed["initContainers"]:
        made.additions.append(Add(("spec", "initContainers", 0), new))
    else:
        made.additions.append(Add(("spec", "initContainers"), [new]))


def _add_volumes(there: Sequence[Mapping[str, object]], settings: Settings, made: Plan) -> None:
    names = {one.get("name") for one in there}
    new = []
    for volume in container.volumes(settings):
        if volume["name"] in names:
            made.warnings.append(
                f"it has a volume {volume['name']} already, which is used as it is"
            )
        else:
            new.append(volume)
    if there:
        made.additions += [Add(("spec", "volumes", "-"), volume) for volume in new]
    elif new:
        made.additions.append(Add(("spec", "volumes"), new))


def _add_env(
    listed: Mapping[str, Sequence[Mapping[str, object]]], settings: Settings, made: Plan
) -> None:
    """Tell the application's containers where the sidecar is; what they say themselves stays."""
    before = "initContainers" if settings.mode is Mode.NATIVE else "containers"
    for key, place, one in _told(listed, settings):
        path: Path = ("spec", key, place + (key == before), "env")  # behind the sidecar
        there = _list(one, "env")
        names = {each.get("name") for each in there}
        new = [each for each in container.env(settings) if each["name"] not in names]
        if kept := [name for name in settings.env if name in names]:
            made.warnings.append(
                f"container {one.get('name')!r} sets {', '.join(kept)} itself; that stays"
            )
        if _list(one, "envFrom") and new:
            added = ", ".join(str(each["name"]) for each in new)
            made.warnings.append(
                f"container {one.get('name')!r} takes further variables by envFrom; should {added} "
                f"be among them, the sidecar's win (the annotation {PREFIX}env chooses)"
            )
        if there:
            made.additions += [Add((*path, "-"), each) for each in new]
        elif new:
            made.additions.append(Add(path, new))


def _told(
    listed: Mapping[str, Sequence[Mapping[str, object]]], settings: Settings
) -> Iterator[tuple[str, int, Mapping[str, object]]]:
    for key in ("initContainers", "containers"):
        for place, one in enumerate(listed[key]):
            chosen = settings.containers
            if key == "containers" if chosen is None else one.get("name") in chosen:
                yield key, place, one


def _add_metadata(pod: Mapping[str, object], settings: Settings, made: Plan) -> None:
    """Labels and annotations by which the pod is found; those of the same name stay."""
    if not isinstance(pod.get("metadata"), Mapping):
        made.additions.append(Add(("metadata",), {}))
    for key, values in (
        ("labels", container.labels()),
        ("annotations", container.annotations(settings)),
    ):
        there = member(pod, ("metadata", key))
        known = there if isinstance(there, Mapping) else {}
        new = {name: value for name, value in values.items() if name not in known}
        if known:
            made.additions += [Add(("metadata", key, name), new[name]) for name in new]
        elif new:
            made.additions.append(Add(("metadata", key), new))


# --- reading ---------------------------------------------------------------------------------


def _mapping(data: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = data.get(key)
    if not isinstance(found, Mapping):
        raise Refused(f"It has no {key} that is a mapping, so there is no pod in it.")
    return found


def _list(data: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    """A list of mappings; raises Refused where something else stands there."""
    found = data.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise Refused(f"Its {key} is no list of mappings.")
    return found
