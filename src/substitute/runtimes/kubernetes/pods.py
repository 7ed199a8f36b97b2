"""What the states of pods mean, in words. Nothing here asks anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.runtimes.kubernetes.failures import cure_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Pod = dict[str, Any]

PLACING = 60.0
"""Seconds that a cluster may take to find a node for a pod: one that grows by itself starts one."""

_NO_LOGIN = (
    "401 unauthorized",
    "403 forbidden",
    "authorization failed",
    "access denied",
    "authentication required",
)
"""What engines of nodes say of a registry that does not know them."""
_NO_IMAGE = ("not found", "manifest unknown")
"""And of an image that is not there."""
_HOPELESS = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""What a container waits for that does not come by itself, at least not soon."""
_PASSING = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Those that a node's agent also tells while it has not heard of a Secret yet: it tries again."""
_SIGNALLED = 128
"""More than that is the number of a signal, as in a shell."""
_KILLED = 137


def staying(pods: Iterable[Pod]) -> list[Pod]:
    """Those that are not told to end."""
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def is_ready(pod: Pod) -> bool:
    """Whether it is, by the cluster's own judgement."""
    conditions = pod["status"].get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def ready(pods: Iterable[Pod]) -> list[Pod]:
    """Those of `pods` that are, and stay."""
    return [pod for pod in staying(pods) if is_ready(pod)]


def nodes(pods: Iterable[Pod]) -> set[str]:
    """The addresses of the nodes that `pods` are on, as the cluster knows them."""
    return {one["ip"] for pod in pods for one in pod["status"].get("hostIPs") or _host(pod)}


def _host(pod: Pod) -> list[Mapping[str, str]]:
    address = pod["status"].get("hostIP")
    return [{"ip": address}] if address else []


def restarts(pods: Iterable[Pod]) -> int:
    """How often their containers were started again."""
    return sum(one["restartCount"] for pod in pods for one in _containers(pod))


def has_begun(pod: Pod) -> bool:
    """Whether its container runs, or has run."""
    return any("running" in state or "terminated" in state for state in _states(pod)) or restarts([pod]) > 0


def is_up(pods: Sequence[Pod], deployment: Mapping[str, Any]) -> bool:
    """Whether any of it runs: not where each one of them ends again and again before it was ever ready."""
    there = staying(pods)
    if ready(there) or not restarts(there):
        return True
    return has_been_ready(deployment) and any("running" in state for pod in there for state in _states(pod))


def has_been_ready(deployment: Mapping[str, Any]) -> bool:
    """Whether all of its pods once were, since its latest start: the cluster calls that the end of a rollout."""
    conditions = deployment.get("status", {}).get("conditions") or ()
    return any(one.get("reason") == "NewReplicaSetAvailable" for one in conditions)


def obstacle(pods: Iterable[Pod], conditions: Iterable[Mapping[str, Any]]) -> str:
    """Why none of `pods` will run as things are; empty where there is no reason known.

    `conditions` are those of their Deployment: where no pod can be made at all, it says why.
    """
    for one in conditions:
        if one["type"] == "ReplicaFailure" and one["status"] == "True":
            return str(one.get("message", one.get("reason", "")))
    for pod in pods:
        for state in _states(pod):
            waiting = state.get("waiting") or {}
            if waiting.get("reason") in _HOPELESS:
                return ": ".join(filter(None, [waiting["reason"], waiting.get("message", "")]))
    return ""


def cure(why: str) -> str:
    """What helps against such a reason; empty where that is not known."""
    is_pull = why.partition(":")[0] in {"ErrImagePull", "ImagePullBackOff"}
    if is_pull and any(said in why.lower() for said in _NO_LOGIN):
        return (
            "The nodes need a login there, of their own: give the namespace's default service account "
            "imagePullSecrets (docs/kubernetes.md)."
        )
    if is_pull and any(said in why.lower() for said in _NO_IMAGE):
        return (
            "The registry does not have it any more: push it again, or have `substitute deploy COMMIT` build it "
            "again."
        )
    return cure_of(why)


class Obstacles:
    """Tells of what stands in the way of pods, once it is clear that it stays there."""

    _LASTS = 15.0
    """Seconds after which what may pass did not."""

    def __init__(self) -> None:
        self._since: float | None = None

    def lasting(self, why: str, now: float) -> str:
        """`why` is what `obstacle` says at the time `now`, of a clock that only goes on; empty while it may pass."""
        self._since = (now if self._since is None else self._since) if why else None
        may_pass = why.partition(":")[0] in _PASSING
        return "" if self._since is None or (may_pass and now - self._since < self._LASTS) else why


def unscheduled(pods: Iterable[Pod]) -> str:
    """Why the cluster has no node for one of them, in its words; empty where it has."""
    for pod in pods:
        for one in pod["status"].get("conditions") or ():
            if one["type"] == "PodScheduled" and one["status"] == "False":
                return str(one.get("message", ""))
    return ""


def ending(pods: Iterable[Pod]) -> str:
    """How the last container of them ended that did, in words; empty where none did."""
    found = [
        ended
        for pod in pods
        for one in _containers(pod)
        for state in (one.get("lastState") or {}, one.get("state") or {})
        if (ended := state.get("terminated"))
    ]
    latest = max(found, key=lambda one: one.get("finishedAt") or "", default=None)
    return _in_words(latest) if latest else ""


def exit_status(pod: Pod) -> int | None:
    """That of its container, once it has ended; 1 where its node ended it before that could tell."""
    for state in _states(pod):
        if ended := state.get("terminated"):
            return int(ended["exitCode"])
    return 1 if pod["status"].get("phase") == "Failed" else None


def _in_words(ended: Mapping[str, Any]) -> str:
    code = int(ended["exitCode"])
    if ended.get("reason") == "OOMKilled":
        return "SIGKILL (it used more memory than limits.memory)"
    if code == _KILLED:
        return "SIGKILL"
    return f"signal {code - _SIGNALLED}" if code > _SIGNALLED else f"exit status {code}"


def _containers(pod: Pod) -> list[dict[str, Any]]:
    return pod["status"].get("containerStatuses") or []


def _states(pod: Pod) -> list[dict[str, Any]]:
    return [one.get("state") or {} for one in _containers(pod)]
