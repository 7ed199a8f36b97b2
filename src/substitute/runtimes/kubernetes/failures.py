"""What an API server does not do."""

from __future__ import annotations

from substitute.core.model.errors import RuntimeFailedError


class Silent(RuntimeFailedError):  # noqa: N818
    """The API server does not answer, or cannot be asked: what it keeps is not known. That goes on all the same."""


class Refused(RuntimeFailedError):  # noqa: N818
    """The API server says no."""

    status = 0
    """Of its answer."""


_CURES = (
    (
        "port is already allocated",
        "Another Service has the port: `kubectl get services --all-namespaces` shows which, and `ports` names others.",
    ),
    ("not in the valid range", "Write `ports` from that range."),
    (
        "exceeded quota",
        "Raise the ResourceQuota (`kubectl describe resourcequotas` shows it), or lower `replicas` or `limits`.",
    ),
    (
        "failed quota",
        "A ResourceQuota takes only pods with limits: write `limits.memory` and `limits.cpu`, for each process too.",
    ),
    ("is forbidden: User", "Give its user that right: docs/kubernetes.md has the Role that is needed."),
)
"""What helps, by what API servers say."""
_NOT_KNOWN = (
    "The token or the certificate of the kubeconfig has expired, or is not this cluster's: get a new one, and type the "
    "command again when `kubectl get pods` works."
)
_UNAUTHORIZED = 401


def cure_of(said: str, status: int = 0) -> str:
    """What helps where an API server says that, in an answer or of a Deployment; empty where it is not known."""
    if status == _UNAUTHORIZED:
        return _NOT_KNOWN
    return next((cure for words, cure in _CURES if words in said), "")
