"""What a cluster is told and what it tells, without one: kubeconfigs, objects, the states of pods."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from substitute.config.loader import load
from substitute.config.resolution import apps
from substitute.core.model.errors import ConfigError, RuntimeFailedError
from substitute.core.model.health import Health
from substitute.core.model.instances import web_instances
from substitute.core.model.programs import Container, Limits, Mount, Program
from substitute.core.model.slots import Endpoint, SlotName
from substitute.runtimes.kubernetes import objects, pods
from substitute.runtimes.kubernetes.access import Credentials, Settings, read, resolved
from substitute.values import replace

NODES = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
CLUSTER = f"""
[runtime]
kind = "kubernetes"
[cluster]
nodes = {json.dumps(NODES)}
[app.shop]
source = "image"
image = "r.example.com/shop"
ports = [30001, 30002]
"""
HEALTH = Health("http", "/up", "shop.test", timeout=30.0, interval=0.1, successes=2, headers={"X-Up": "1"})
KUBECONFIG: dict[str, Any] = {
    "current-context": "one",
    "contexts": [
        {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
        {"name": "two", "context": {"cluster": "c", "user": "plugin"}},
    ],
    "clusters": [{"name": "c", "cluster": {"server": "https://k.example.com:6443/base/"}}],
    "users": [
        {"name": "u", "user": {"token": "t0ken"}},
        {"name": "plugin", "user": {"exec": {"command": "", "args": []}}},
    ],
}


# -- substitute.toml ----------------------------------------------------------------------------------


def written(tmp_path: Path, more: str = "container_port = 8080\n", text: str = CLUSTER) -> Path:
    (tmp_path / "substitute.toml").write_text(text + more)
    return tmp_path


def test_a_slot_is_one_workload_that_answers_at_each_node(tmp_path: Path) -> None:
    app = apps(load(written(tmp_path, "container_port = 8080\nreplicas = 4\n")), tmp_path)["shop"]
    slot = app.slots[SlotName.B]
    assert slot.endpoints == tuple(Endpoint(node, 30002) for node in NODES)
    assert (app.replicas, app.image.engine, slot.clustered) == (4, "kubernetes", True)
    (instance,) = web_instances("shop", SlotName.B, slot.directory, slot.endpoints, clustered=True)
    assert (instance.name, instance.endpoints) == ("shop_b", slot.endpoints)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "app.shop: needs container_port, the port that the app listens on in its pod"),
        ("container_port = 80\ninstances = 2\n", "instances: means nothing in a cluster: write replicas"),
        (
            "container_port = 80\n[app.shop.limits]\ntasks = 5\n",
            "tasks: means nothing in a cluster: a pod has no such limit",
        ),
        (
            'container_port = 80\n[app.shop.standby]\nkeep = "1h"\nfreeze = true\n',
            "freeze: means nothing in a cluster",
        ),
        ('container_port = 80\n[app.shop.stop]\nsignal = "SIGQUIT"\n', "signal: means nothing in a cluster"),
        (
            'container_port = 80\n[app.shop.process.w]\nstart = "w"\n[app.shop.process.w.limits]\nnofile = 5\n',
            "process.w.limits.nofile: means nothing in a cluster",
        ),
        ('container_port = 80\n[balancer]\nkind = "traefik"\n', 'needs "haproxy", which looks at the nodes'),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, more))
    assert said in "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            '[app.shop.cron.tick]\nat = "@daily"\ncommand = "true"\n',
            "app.shop.cron: is not for several edges: both would run it",
        ),
        ('order = "stop-first"\n', "app.shop.order: is not for several edges: the other edge would lead"),
    ],
)
def test_what_several_edges_cannot_do_is_refused(tmp_path: Path, more: str, said: str) -> None:
    text = CLUSTER.replace("[cluster]\n", '[cluster]\nedges = ["edge1", "edge2"]\n')
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, f"container_port = 80\n{more}", text))
    assert said in "\n".join(caught.value.problems)


def test_nodes_are_needed_and_replicas_need_a_cluster(tmp_path: Path) -> None:
    without = CLUSTER.replace(f"nodes = {json.dumps(NODES)}", "")
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, "container_port = 80\n", without))
    assert "`kubectl get nodes -o wide` tells them" in caught.value.problems[0]
    docker = CLUSTER.replace('"kubernetes"', '"docker"')
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, "container_port = 80\nreplicas = 2\n", docker))
    assert 'needs runtime.kind = "kubernetes", and an image' in caught.value.problems[0]


# -- kubeconfigs --------------------------------------------------------------------------------------


def settings(tmp_path: Path, **changes: str) -> Settings:
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))  # JSON is YAML
    return replace(Settings(str(tmp_path / "kubeconfig")), **changes)


def test_a_kubeconfig_says_where_and_as_whom(tmp_path: Path) -> None:
    access = read(settings(tmp_path))
    assert (access.host, access.port, access.path, access.namespace) == (
        "k.example.com",
        6443,
        "/base",
        "shop",
    )
    assert Credentials(access).token() == "t0ken"
    other = read(settings(tmp_path, context="two"))
    assert other.namespace == "default"
    assert read(settings(tmp_path, namespace="mine")).namespace == "mine"
    assert Settings.load(settings(tmp_path, claim="files").dump()) == settings(tmp_path, claim="files")


def test_a_plugin_is_asked_once_and_again_when_it_is_to_be(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!{sys.executable} -S\nimport json, os\n"
        f"file = open({str(tmp_path / 'calls')!r}, 'a+'); file.write('x'); file.seek(0)\n"
        "asked = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "print(json.dumps({**asked, 'status': {'token': os.environ['WHO'] + file.read()}}))\n"
    )
    plugin.chmod(0o755)
    KUBECONFIG["users"][1]["user"]["exec"] = {"command": "./plugin", "env": [{"name": "WHO", "value": "me"}]}
    known = Credentials(read(settings(tmp_path, context="two")))
    assert [known.token(), known.token()] == ["mex", "mex"]
    assert known.renew()
    assert known.token() == "mexx"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no YAML"),
        ("{}", "is no complete kubeconfig"),
        (json.dumps({**KUBECONFIG, "current-context": "three"}), "no context is called 'three'"),
        (json.dumps(KUBECONFIG).replace("https:", "http:"), "must be an https URL"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(RuntimeFailedError) as caught:
        read(Settings(str(tmp_path / "kubeconfig")))
    assert said in caught.value.reason
    with pytest.raises(RuntimeFailedError, match="cannot be read: No such file"):
        read(Settings(str(tmp_path / "none")))


def test_what_was_meant_by_a_kubeconfig_stays_meant(tmp_path: Path) -> None:
    meant = resolved(settings(tmp_path))
    assert (meant.context, meant.namespace) == ("one", "shop")
    (tmp_path / "kubeconfig").write_text(json.dumps({**KUBECONFIG, "current-context": "two"}))
    assert read(meant).namespace == "shop"
    assert resolved(Settings(str(tmp_path / "kubeconfig"))).context == "two"


# -- objects ------------------------------------------------------------------------------------------


def program(**changes: Any) -> Program:
    container = Container("r/shop@sha256:1", (), dict.fromkeys([Endpoint(one, 30001) for one in NODES], 8080))
    found = Program(
        name="shop_a",
        command="",
        directory=Path("/srv/shop_a"),
        environment={"TOKEN": "s3cret", "PATH": "/bin"},
        log=Path("/srv/log"),
        stop_timeout=7.5,
        fields={"SUBSTITUTE_ROOT": "/srv", "SUBSTITUTE_COMMIT": "c0ffee"},
        container=container,
        replicas=3,
        health=HEALTH,
    )
    return replace(found, **changes)


def made(of: Program, claim: str = "") -> dict[str, Any]:
    assert of.container
    return objects.deployment(
        of, of.container, prefix="substitute-1", root=Path("/srv"), started="17", claim=claim
    )


def test_a_program_is_a_deployment_that_is_replaced_as_a_whole() -> None:
    body = made(program())
    spec, pod = body["spec"], body["spec"]["template"]["spec"]
    assert body["metadata"]["name"] == "shop-a"
    assert body["metadata"]["annotations"] == {
        "substitute/root": "/srv",
        "substitute/name": "shop_a",
        "substitute/commit": "c0ffee",
    }
    assert (spec["replicas"], spec["strategy"]) == (3, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"] == {"substitute/root": "substitute-1", "substitute/name": "shop-a"}
    assert spec["template"]["metadata"]["labels"]["substitute/started"] == "17"
    assert pod["terminationGracePeriodSeconds"] == 8
    (container,) = pod["containers"]
    assert "args" not in container, "the image says it itself"
    assert container["readinessProbe"]["httpGet"] == {
        "path": "/up",
        "port": 8080,
        "httpHeaders": [{"name": "Host", "value": "shop.test"}, {"name": "X-Up", "value": "1"}],
    }
    assert "s3cret" not in json.dumps(body)


def test_its_environment_is_a_secret_without_what_is_this_machines() -> None:
    body = objects.secret("shop_a", "substitute-1", program().environment)
    assert body["data"] == {"TOKEN": base64.b64encode(b"s3cret").decode()}


def test_its_service_has_the_slots_port_at_every_node() -> None:
    its = program()
    assert its.container
    spec = objects.service(its, its.container, "substitute-1")["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert spec["ports"] == [{"name": "web", "port": 8080, "targetPort": 8080, "nodePort": 30001}]


def test_limits_and_a_command_and_a_worker_arrive() -> None:
    worker = program(
        name="shop_a_worker_1",
        command="work --all",
        container=Container("r/shop@sha256:1"),
        limits=Limits(memory=1 << 20, cpu=0.5),
        replicas=1,
    )
    (container,) = made(worker)["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["work", "--all"]
    assert container["resources"]["limits"] == {"memory": "1048576", "cpu": "500m"}
    assert not {"ports", "readinessProbe"} & container.keys()


@pytest.mark.parametrize(
    ("health", "kind"),
    [
        (replace(HEALTH, kind="tcp"), "tcpSocket"),
        (replace(HEALTH, status="200-499"), "tcpSocket"),
        (replace(HEALTH, command="bin/up"), "exec"),
    ],
)
def test_what_a_cluster_cannot_judge_as_we_do_it_judges_as_near_as_it_can(health: Health, kind: str) -> None:
    assert kind in objects.readiness(health, 80)


def test_what_is_shared_lies_in_the_claim_and_needs_one() -> None:
    files = Mount(Path("/srv/deploy/shop/shared/media"), Path("/app/media"))
    sharing = program(container=Container("r/shop@sha256:1", (files,)))
    (container,) = made(sharing, "files")["spec"]["template"]["spec"]["containers"]
    assert container["volumeMounts"] == [
        {"name": "shared", "mountPath": "/app/media", "subPath": "shop/shared/media"}
    ]
    with pytest.raises(RuntimeFailedError, match="no place in this cluster"):
        made(sharing)


# -- pods ---------------------------------------------------------------------------------------------


def pod(
    state: dict[str, Any] | None = None,
    *,
    is_ready: bool = False,
    restarts: int = 0,
    last: dict[str, Any] | None = None,
    **more: Any,
) -> pods.Pod:
    status = {"state": state or {}, "lastState": last or {}, "restartCount": restarts}
    conditions = [{"type": "Ready", "status": str(is_ready)}]
    return {
        "metadata": {"name": "shop-a-1", **more},
        "status": {"conditions": conditions, "containerStatuses": [status], "hostIP": "10.0.0.1"},
    }


RUNS: dict[str, Any] = {"running": {}}


def ended(code: int, reason: str = "Error", at: str = "1") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}


def test_what_is_ready_and_what_is_up() -> None:
    well, ill = pod(RUNS, is_ready=True), pod(RUNS, restarts=2, last=ended(3))
    assert pods.ready([well, ill]) == [well]
    assert pods.nodes([well]) == {"10.0.0.1"}
    assert pods.is_up([pod({})], {}), "it has only begun"
    assert pods.is_up([well, ill], {})
    assert not pods.is_up([ill], {}), "it was never ready"
    once = {"status": {"conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}]}}
    assert pods.is_up([ill], once), "it serves, and is not ready at this moment"
    assert not pods.is_up([pod({"waiting": {}}, restarts=5)], once)
    assert not pods.ready([pod(RUNS, is_ready=True, deletionTimestamp="now")]), "it is told to end"


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (3, "Error", "exit status 3"),
        (137, "Error", "SIGKILL"),
        (137, "OOMKilled", "SIGKILL (it used more memory than limits.memory)"),
        (139, "Error", "signal 11"),
    ],
)
def test_how_the_last_one_ended(code: int, reason: str, words: str) -> None:
    earlier = pod(RUNS, last=ended(1, at="0"))
    assert pods.ending([earlier, pod(ended(code, reason))]) == words


def test_what_may_pass_stands_in_the_way_for_a_while_first() -> None:
    unheard, gone = "CreateContainerConfigError: no secret yet", "ImagePullBackOff: no such tag"
    obstacles = pods.Obstacles()
    assert [obstacles.lasting(unheard, now) for now in (0.0, 14.0)] == ["", ""]
    assert obstacles.lasting("", 14.5) == ""
    assert [obstacles.lasting(unheard, now) for now in (20.0, 36.0)] == ["", unheard]
    assert pods.Obstacles().lasting(gone, 0.0) == gone


def test_why_none_will_run() -> None:
    waits = {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}
    assert pods.obstacle([pod(waits)], ()) == "ImagePullBackOff: no such tag"
    assert not pods.obstacle([pod({"waiting": {"reason": "ContainerCreating"}})], ())
    quota = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    assert pods.obstacle([], [quota]) == "exceeded quota"
    nowhere = pod({})
    nowhere["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]
    assert pods.unscheduled([nowhere]) == "0/3 nodes"


@pytest.mark.parametrize(
    ("why", "helps"),
    [
        ("ImagePullBackOff: r/shop@sha256:1: not found", "have `substitute deploy COMMIT` build it again"),
        ("ImagePullBackOff: 401 unauthorized", "imagePullSecrets"),
        ('pods "shop-a-1" is forbidden: exceeded quota: all', "Raise the ResourceQuota"),
        ('pods "shop-a-1" is forbidden: failed quota: all: must specify limits.cpu', "write `limits.memory`"),
        ("0/3 nodes", ""),
    ],
)
def test_what_helps_against_what_stands_in_the_way(why: str, helps: str) -> None:
    assert helps in pods.cure(why)
    assert bool(pods.cure(why)) == bool(helps)
